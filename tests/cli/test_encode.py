import sys

import pytest

from unbraid.cli import main as cli
from unbraid.cluster import EncoderSpec, Report


@pytest.fixture
def encode(capsys, monkeypatch, tmp_path):
    """Run `unbraid encode --engine ray` with a corpus that encodes to `report`; gives exit code, errors and calls."""
    calls = []

    def run(*words: str, report: Report | None = None) -> tuple[int, str, list]:
        def encode_corpus(paths, out, spec, **options):
            calls.append((paths, out, spec, options))
            return report

        monkeypatch.setattr("unbraid.cluster.encode_corpus", encode_corpus)
        monkeypatch.setattr(sys, "argv", ["unbraid", "encode", *words])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), capsys.readouterr().err, calls

    return run


RAY = ("corpus", "--engine", "ray", "--out", "vectors")


def test_options_reach_the_run(encode, tmp_path):
    (tmp_path / "bundle").mkdir()
    options = ["--model", "bundle", "--column", "body", "--modality", "code", "--threads", "3", "--dim", "64"]
    code, _, [(_, _, spec, given)] = encode(*RAY, *options, report=Report(5, encoded=5))
    assert (code, spec) == (0, EncoderSpec(str(tmp_path / "bundle"), dim=64))  # workers have another folder
    assert given == {"id": "id", "column": "body", "modality": "code", "shard_rows": 4096, "workers": 3}


def test_a_teacher_has_its_own_options(encode):
    _, _, [(_, _, spec, _)] = encode(
        *RAY, "--teacher", "starter", "--task", "query", report=Report(1, encoded=1)
    )
    assert spec == EncoderSpec(teacher="starter", task="query")


def test_the_report_counts_every_row(encode):
    code, said, _ = encode(
        *RAY, report=Report(10, before=4, encoded=5, rejected=1, warnings=["a: 2 of 5 cut"])
    )
    assert code == 0
    assert said.splitlines() == [
        "unbraid: a: 2 of 5 cut",
        "5 rows encoded into vectors, 4 of 10 rows were done before; 1 could not be encoded: the column error says why",
    ]


@pytest.mark.parametrize(
    ("report", "code", "says"),
    [
        (
            Report(10, encoded=5, failed={"a-0": "disk full"}),
            1,
            "failed   a-0: disk full\nunbraid: 1 shards failed",
        ),
        (
            Report(10, encoded=5, interrupted=True),
            130,
            "unbraid: interrupted; what is counted above is in vectors",
        ),
    ],
)
def test_a_run_that_did_not_end_says_so(encode, report, code, says):
    given, said, _ = encode(*RAY, report=report)
    assert given == code and says in said and "run again for the rest" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--engine", "ray", "--out", "vectors"), "takes Parquet FILES"),
        (("corpus", "--engine", "ray"), "a folder --out"),
        (("a.txt", "--column", "text"), "go with --engine ray"),
        (("a.txt", "--teacher", "starter"), "go with --engine ray"),
        ((*RAY, "--teacher", "starter"), "one of its tasks as --task"),
        ((*RAY, "--side", "query"), "--side goes with a .mapper file"),
        ((*RAY, "--engine", "spark"), "'spark' is not one of ray"),
        ((*RAY, "--shard-rows", "0"), "'--shard-rows'"),
    ],
)
def test_wrong_use_is_told(encode, words, says):
    code, said, calls = encode(*words)
    assert (code, calls) == (2, []) and says in said
