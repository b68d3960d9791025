"""`unbraid encode`: on this machine, and on a Ray cluster."""

import json

import numpy as np
import pytest

from unbraid.cluster import EncoderSpec, Report


def test_encode_takes_a_tier(unbraid):
    vectors = [
        json.loads(unbraid("encode", "--tier", tier, stdin="cat\n").out)["vector"]
        for tier in ("small", "nano")
    ]
    assert vectors[0] != vectors[1]


def test_a_tier_that_the_bundle_lacks_is_one_clear_line(unbraid):
    result = unbraid("encode", "--tier", "pico", stdin="cat\n")
    assert (result.code, result.out) == (2, "")
    assert "no tier 'pico'; it has small, nano" in result.err


def test_encode_reads_lines_and_writes_json_lines_with_provenance(unbraid, embedder):
    result = unbraid("encode", "--task", "query", "--dim", 64, stdin="moon\nriver\n")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [row["item"] for row in rows] == ["moon", "river"]
    assert rows[0]["base_id"] == embedder.base_id
    assert rows[0]["mapper_id"] == embedder.bundle.mappers["query"].id
    assert np.linalg.norm(rows[0]["vector"]) == pytest.approx(1, abs=1e-5)


def test_a_dash_is_standard_input(unbraid):
    assert unbraid("encode", "-", stdin="moon\n").out == unbraid("encode", stdin="moon\n").out != ""


def test_encode_to_npy_writes_the_array_and_what_it_is_about(unbraid, folder, tmp_path, embedder):
    out = tmp_path / "vectors.npy"
    result = unbraid("encode", folder / "moon.md", folder / "red.png", "--out", out, "--numbers", "int8")
    assert result.out == ""
    assert np.load(out).shape == (2, 512)
    about = json.loads((tmp_path / "vectors.npy.json").read_text())
    assert (about["base_id"], about["numbers"], about["task"]) == (embedder.base_id, "int8", None)


def test_encode_to_parquet_keeps_provenance_in_the_schema(unbraid, folder, tmp_path, embedder):
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "vectors.parquet"
    unbraid("encode", folder / "moon.md", "--out", out)
    table = pq.read_table(out)
    assert json.loads(table.schema.metadata[b"unbraid"])["base_id"] == embedder.base_id
    vector = np.array(table["vector"][0].as_py(), dtype=np.float32)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_encode_to_jsonl_equals_what_goes_to_stdout(unbraid, folder, tmp_path):
    shown = unbraid("encode", folder / "moon.md").out
    unbraid("encode", folder / "moon.md", "--out", tmp_path / "v.jsonl")
    assert (tmp_path / "v.jsonl").read_text() == shown


@pytest.mark.filterwarnings("default")
def test_cut_texts_are_counted_on_stderr(unbraid):
    result = unbraid("encode", stdin="moon " * 100 + "\n")
    assert result.code == 0
    assert "1 of 1 items are longer than 24 tokens" in result.err


def test_a_line_of_stdin_is_one_item_whatever_is_in_it(unbraid):
    result = unbraid("encode", "--dim", 64, stdin="moon\x0criver\u2028cat\r\n\ndog")
    assert [json.loads(line)["item"] for line in result.out.split("\n") if line] == [
        "moon\x0criver\u2028cat",
        "",
        "dog",
    ]


# -- on a Ray cluster --------------------------------------------------------------------------------------


@pytest.fixture
def encode(command, monkeypatch, tmp_path):
    """Run `unbraid encode --engine ray` with a corpus that encodes to `report`; gives exit code, errors and calls."""
    calls = []

    def run(*words: str, report: Report | None = None) -> tuple[int, str, list]:
        def encode_corpus(paths, out, spec, **options):
            calls.append((paths, out, spec, options))
            return report

        monkeypatch.setattr("unbraid.cluster.encode_corpus", encode_corpus)
        monkeypatch.chdir(tmp_path)
        done = command("encode", *words)
        return done.code, done.err, calls

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
