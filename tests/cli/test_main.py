"""The command line as a person or a script meets it: results on stdout, one line and exit code 2 for wrong use."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from unbraid.cli import main as cli
from unbraid.cli import options as cli_options
from unbraid.cli import search as cli_search
from unbraid.distill.recipe import read_recipe
from unbraid.distill.recipe_models import torch_dtype
from unbraid.index import Hit


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def unbraid(capsys, monkeypatch, bundle_folder):
    """Run the command in this process with the tiny bundle."""

    def run(*words: object, model: bool = True, stdin: str = "") -> Result:
        arguments = [str(word) for word in words] + (["--model", str(bundle_folder)] if model else [])
        monkeypatch.setattr(sys, "argv", ["unbraid", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return Result(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    """A text, a piece of code and a picture."""
    place = tmp_path / "stuff"
    place.mkdir()
    (place / "moon.md").write_text("# Moon\n\nThe moon is bright.\n")
    (place / "dog.py").write_text("def dog():\n    return 'house'\n")
    Image.new("RGB", (40, 30), "red").save(place / "red.png")
    return place


def test_index_then_search_finds_the_file(unbraid, folder, tmp_path):
    report = unbraid("index", folder, "--into", tmp_path / "ix", "--json")
    assert report.code == 0
    assert json.loads(report.out)["added"] == 3
    found = unbraid("search", "the moon is bright", "--in", tmp_path / "ix", "--json", "--modality", "text")
    assert found.code == 0
    assert json.loads(found.out.splitlines()[0])["path"].endswith("moon.md")


def test_a_hybrid_search_shows_both_scores(unbraid, folder, tmp_path):
    index = tmp_path / "ix"
    unbraid("index", folder, "--into", index)
    found = unbraid("search", "bright moons", "--in", index, "--json", "--hybrid")
    hits = {Path(hit["path"]).name: hit for hit in map(json.loads, found.out.splitlines())}
    assert found.code == 0
    assert hits["moon.md"]["score"] > hits["moon.md"]["cosine"] and hits["moon.md"]["bm25"] > 0
    assert hits["red.png"]["score"] == hits["red.png"]["cosine"] and hits["red.png"]["bm25"] == 0
    refused = unbraid("search", "--image", folder / "red.png", "--in", index, "--hybrid")
    assert refused.code == 2 and "a picture has no words" in refused.err


def test_a_search_keeps_to_paths_languages_and_fields(unbraid, folder, tmp_path):
    index = tmp_path / "ix"
    unbraid("index", folder / "dog.py", "--into", index, "--field", "team=pets", "--field", "year=2024")
    unbraid("index", folder, "--into", index)

    def found(*options: object) -> set[str]:
        result = unbraid("search", "the moon", "--in", index, "--json", *options)
        assert result.code == 0
        return {Path(json.loads(line)["path"]).name for line in result.out.splitlines()}

    assert found() == {"moon.md", "dog.py", "red.png"}
    assert found("--path", folder / "moon.md", "--path", "*.png") == {"moon.md", "red.png"}
    assert found("--language", "python") == {"dog.py"}
    assert found("--where", "team=pets", "--where", "year>=2024") == {"dog.py"}
    assert found("--where", "team!=pets", "--modality", "text") == {"moon.md"}
    assert "unknown language" in unbraid("search", "x", "--in", index, "--language", "pyton").err
    assert "expected NAME=VALUE" in unbraid("search", "x", "--in", index, "--where", "what").err


def test_several_queries_are_answered_in_one_run(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    (tmp_path / "asked.txt").write_text("the moon\n\na dog\n")
    options = ("--queries", tmp_path / "asked.txt", "--image", folder / "red.png", "-k", "1")
    shown = unbraid("search", "--in", tmp_path / "ix", *options)
    assert [line for line in shown.out.splitlines() if line.endswith(":")] == [
        "the moon:",
        "a dog:",
        f"{folder / 'red.png'}:",
    ]
    rows = [
        json.loads(line)
        for line in unbraid("search", "--in", tmp_path / "ix", *options, "--json").out.splitlines()
    ]
    assert [row["query"] for row in rows] == ["the moon", "a dog", str(folder / "red.png")]
    (tmp_path / "asked.txt").write_text("\n")
    assert (
        "holds no query"
        in unbraid("search", "--in", tmp_path / "ix", "--queries", tmp_path / "asked.txt").err
    )


def test_an_index_may_be_smaller(unbraid, folder, tmp_path):
    index = tmp_path / "ix"
    options = ("--dim", "256", "--numbers", "float16", "--candidates", "int8")
    assert unbraid("index", folder, "--into", index, *options).code == 0
    assert json.loads(unbraid("index", "stats", index, "--json", model=False).out)["storage"] == {
        "dim": 256,
        "numbers": "float16",
        "candidates": "int8",
    }
    assert "moon.md" in unbraid("search", "the moon is bright", "--in", index, "-k", "1").out
    assert "leave these options out" in unbraid("index", folder, "--into", index, "--dim", "128").err
    assert "expected one of 512" in unbraid("index", folder, "--into", tmp_path / "no", "--dim", "100").err


def test_a_hit_names_lines_and_in_a_pdf_pages():
    def place(path: str, first: int, last: int) -> str:
        hit = Hit(1, 0.5, path, "text", first, last, "words")
        return cli_search.readable(hit).split("\n")[0].split("  ")[-1]

    assert place("/a.md", 3, 3) == "/a.md:3-3"
    assert (place("/a.pdf", 3, 4), place("/a.pdf", 3, 3)) == ("/a.pdf page 3-4", "/a.pdf page 3")


def test_one_tier_searches_what_the_other_has_indexed(unbraid, folder, tmp_path):
    report = unbraid("index", folder, "--into", tmp_path / "ix", "--tier", "nano", "--json")
    assert json.loads(report.out)["added"] == 3
    again = unbraid("index", folder, "--into", tmp_path / "ix", "--json")
    assert json.loads(again.out)["unchanged"] == 3
    for tier in ("small", "nano"):
        found = unbraid("search", "the moon", "--in", tmp_path / "ix", "--tier", tier, "--json")
        assert len(found.out.splitlines()) == 3


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


def test_readable_results_name_rank_score_file_and_lines(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    found = unbraid("search", "moon", "--in", tmp_path / "ix", "-k", 1, "--modality", "text")
    first = found.out.splitlines()[0].split()
    assert first[0] == "1"
    assert -1 <= float(first[1]) <= 1
    assert first[2].endswith("moon.md:1-3")


def test_a_picture_and_a_snippet_can_be_the_query(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    picture = unbraid(
        "search", "--image", folder / "red.png", "--in", tmp_path / "ix", "--json", "--mode", "symmetric"
    )
    hits = [json.loads(line) for line in picture.out.splitlines()]
    assert next(hit for hit in hits if hit["modality"] == "image")["score"] == pytest.approx(1, abs=1e-3)
    code = unbraid("search", "--code", "def dog():", "--in", tmp_path / "ix", "--json", "--mode", "code")
    assert code.code == 0


def test_a_second_run_encodes_nothing(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    report = json.loads(unbraid("index", folder, "--into", tmp_path / "ix", "--json").out)
    assert (report["unchanged"], report["chunks"]) == (3, 0)


def test_encode_reads_lines_and_writes_json_lines_with_provenance(unbraid, embedder):
    result = unbraid("encode", "--task", "query", "--dim", 64, stdin="moon\nriver\n")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [row["item"] for row in rows] == ["moon", "river"]
    assert rows[0]["base_id"] == embedder.base_id
    assert rows[0]["mapper_id"] == embedder.bundle.mappers["query"].id
    assert np.linalg.norm(rows[0]["vector"]) == pytest.approx(1, abs=1e-5)


def test_encode_to_npy_writes_the_array_and_what_it_is_about(unbraid, folder, tmp_path, embedder):
    out = tmp_path / "vectors.npy"
    result = unbraid("encode", folder / "moon.md", folder / "red.png", "--out", out, "--precision", "int8")
    assert result.out == ""
    assert np.load(out).shape == (2, 512)
    about = json.loads((tmp_path / "vectors.npy.json").read_text())
    assert (about["base_id"], about["precision"], about["task"]) == (embedder.base_id, "int8", None)


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


def test_info_tells_a_bundle_and_an_index_apart(unbraid, bundle_folder, folder, tmp_path, embedder):
    unbraid("index", folder, "--into", tmp_path / "ix")
    bundle = json.loads(unbraid("info", bundle_folder, "--json", model=False).out)
    index = json.loads(unbraid("info", tmp_path / "ix", "--json", model=False).out)
    assert bundle["base id"] == index["base id"] == embedder.base_id
    assert index["files"] == 3


def test_doctor_times_every_precision_of_every_encoder(unbraid):
    about = json.loads(unbraid("doctor", "--json").out)
    assert {(row["graph"], row["precision"]) for row in about["speeds"]} == {
        ("text", "int8"),
        ("text", "fp32"),
        ("image", "fp32"),
        *(
            (f"{task} mapper", precision)
            for task in ("query", "document", "symmetric", "code")
            for precision in ("fp32", "int8")
        ),
    }
    assert all(rate > 0 for row in about["speeds"] for rate in row["items_per_s"].values())
    assert about["onnxruntime"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("search", "moon"), "--in"),
        (("search", "--in", "x"), "give a QUERY, --image FILE or --queries FILE"),
        (("search", "moon", "--in", "/does/not/exist"), "no index at"),
        (("index", "/does/not/exist", "--into", "{tmp}/ix"), "/does/not/exist"),
        (("encode", "/does/not/exist.txt"), "/does/not/exist.txt"),
        (("encode", "--task", "poetry"), "poetry"),
        (("encode", "--dim", "100"), "100"),
        (("encode", "--precision", "int4"), "int4"),
        (("encode", "--out", "vectors.csv"), ".npy"),
        (("encode", "--modality", "sound"), "sound"),
        (("bogus",), "bogus"),
        (("train", "export", "/does/not/exist", "{tmp}/out"), "unbraid train distill"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(unbraid, tmp_path, words, says):
    filled = [word.format(tmp=tmp_path) for word in words]
    result = unbraid(*filled, model=words[0] not in ("bogus", "train"), stdin="moon\n")
    assert result.code == 2
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert says in result.err
    assert "Traceback" not in result.err


def test_a_search_with_an_unknown_mode_lists_the_modes(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    result = unbraid("search", "moon", "--in", tmp_path / "ix", "--mode", "magic")
    assert result.code == 2
    assert "retrieval" in result.err


@pytest.mark.filterwarnings("default")
def test_cut_texts_are_counted_on_stderr(unbraid):
    result = unbraid("encode", stdin="moon " * 100 + "\n")
    assert result.code == 0
    assert "1 of 1 items are longer than 24 tokens" in result.err


def test_a_missing_extra_is_named(unbraid, monkeypatch):
    monkeypatch.setattr(cli_options, "find_spec", lambda package: None)
    result = unbraid("evaluate", "data")
    assert result.code == 2
    assert "pip install 'unbraid[evaluate]'" in result.err


# -- label ---------------------------------------------------------------------------------------------------


class FakeTeacher:
    """One route of four dimensions, from an item's length."""

    dim, modalities = 4, ("text", "code")
    routes: ClassVar = dict.fromkeys(("query", "document", "symmetric", "code"), "plain")

    def __init__(self, name, *, device=None, dtype=None):
        self.about = {"model": str(name), "dtype": str(dtype)}
        self.id = f"{name}-{dtype}"

    def encode(self, items, task):
        angles = np.array([len(item) for item in items], dtype=np.float32)
        return np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=1)


@pytest.fixture
def texts(tmp_path) -> Path:
    path = tmp_path / "items.jsonl"
    rows = [{"text": "moon" * n} for n in range(1, 9)] + [{"code": "def dog(): pass", "anchor": "dog"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def fake_teacher(monkeypatch):
    monkeypatch.setattr("unbraid.teacher.load", FakeTeacher)


def test_label_then_check(unbraid, texts, tmp_path):
    """With the real MiniLM: its own batches, its float16."""
    words = (
        "train",
        "label",
        texts,
        "--teacher",
        "minilm",
        "--output",
        tmp_path / "labels",
        "--dtype",
        "float32",
    )
    done = unbraid(*words, model=False)
    assert done.code == 0, done.err
    assert done.out.startswith("9 items labelled by all-MiniLM-L6-v2-")
    assert done.out.rstrip().endswith("float32 in " + str(tmp_path / "labels") + ", 9 of them now")
    again = unbraid(*words, model=False)
    assert again.out.rstrip().endswith(", 0 of them now")
    checked = unbraid(*words, "--check", "--sample", 5, model=False)
    assert checked.code == 0, checked.err
    assert checked.out.startswith("plain: least cosine ")
    assert "of 5 items encoded again" in checked.out
    assert float(checked.out.split()[3].rstrip(",")) > 0.999


def test_label_takes_teacher_and_precision_from_the_recipe(unbraid, texts, tmp_path, fake_teacher):
    unbraid("train", "label", texts, "--output", tmp_path / "a", model=False)
    about = json.loads((tmp_path / "a" / "labels.json").read_text())["about"]
    plan = read_recipe(Path("starter"))
    assert about == {"model": plan.teacher, "dtype": str(torch_dtype(plan))}
    unbraid("train", "label", texts, "--output", tmp_path / "b", "--teacher", "org/other", model=False)
    about = json.loads((tmp_path / "b" / "labels.json").read_text())["about"]
    assert about == {"model": "org/other", "dtype": "None"}


def test_label_reads_a_folder_by_its_recipe(unbraid, tmp_path, fake_teacher):
    (tmp_path / "data").mkdir()
    rows = [{"text": f"text {n}"} for n in range(40)]
    (tmp_path / "data" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        'name = "own"\nversion = "1"\nseed = 1\nteacher = "fake"\nitems = 20\ndtype = "float32"\n'
        '[[source]]\nfile = "a.jsonl"\nlicence = "MIT"\ntext = ["text"]\n'
    )
    words = ("train", "label", tmp_path / "data", "--recipe", recipe, "--output", tmp_path / "labels")
    assert unbraid(*words, model=False).out.startswith("20 items labelled by fake-torch.float32")
    assert unbraid(*words, "--items", 25, model=False).out.rstrip().endswith("5 of them now")


def test_label_after_ctrl_c_says_how_far_it_came(unbraid, texts, tmp_path, fake_teacher, monkeypatch):
    def stop(self, items, task):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeTeacher, "encode", stop)
    result = unbraid("train", "label", texts, "--output", tmp_path / "labels", model=False)
    assert result.code == 130
    assert result.err == ("unbraid: interrupted; 0 of 9 items are labelled; run it again to resume\n")


def test_label_refuses_another_teacher_and_a_check_that_fails(
    unbraid, texts, tmp_path, fake_teacher, monkeypatch
):
    words = ("train", "label", texts, "--output", tmp_path / "labels", "--teacher")
    assert unbraid(*words, "one", model=False).code == 0
    other = unbraid(*words, "two", model=False)
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "teacher one-None instead of two-None" in other.err
    monkeypatch.setattr(FakeTeacher, "encode", lambda self, items, task: np.eye(4)[[3] * len(items)])
    failed = unbraid(*words, "one", "--check", model=False)
    assert (failed.code, failed.out, failed.err.count("\n")) == (2, "", 1)
    assert "has cosine 0.0000 to the teacher's" in failed.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{tmp}/no.jsonl", "--output", "{tmp}/out"), "no.jsonl"),
        (("{tmp}/empty.jsonl", "--output", "{tmp}/out"), "nothing to label"),
        (("{tmp}/bad.jsonl", "--output", "{tmp}/out"), "bad.jsonl, line 1: found only body"),
        (("{tmp}/picture.jsonl", "--output", "{tmp}/out"), "1 items are image"),
        (("{tmp}/picture.jsonl",), "--output"),
        (("{tmp}/items.jsonl", "--output", "{tmp}/out", "--tasks", "poetry"), "poetry"),
        (("{tmp}/items.jsonl", "--output", "{tmp}/out", "--dtype", "int8"), "int8"),
        (("{tmp}/items.jsonl", "--output", "{tmp}/out", "--sample", "3"), "--sample goes with --check"),
        (("{tmp}/items.jsonl", "--output", "{tmp}/out", "--check"), "run `unbraid train label` first"),
        (("{tmp}/items.jsonl", "--output", "{tmp}/items.jsonl"), "items.jsonl: cannot be made"),
        (("{tmp}/items.jsonl", "--output", "{tmp}/out", "--recipe", "{tmp}/no.toml"), "no.toml"),
    ],
)
def test_wrong_use_of_label_is_one_clear_line(unbraid, texts, tmp_path, fake_teacher, words, says):
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text('{"body": "x"}\n')
    (tmp_path / "picture.jsonl").write_text('{"image": "red.png"}\n')
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    result = unbraid("train", "label", *(word.format(tmp=tmp_path) for word in words), model=False)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert says in result.err


def test_evaluate_prints_a_table_and_records_it_for_the_card(unbraid, tmp_path):
    sts = tmp_path / "tiny.jsonl"
    sts.write_text(
        "".join(
            json.dumps({"a": a, "b": b, "score": score}) + "\n"
            for a, b, score in [
                ("moon", "moon", 1.0),
                ("moon", "river", 0.2),
                ("red", "green", 0.5),
                ("cat", "dog", 0.4),
            ]
        )
    )
    result = unbraid("evaluate", sts, "--no-baselines", "--record", tmp_path / "scores.json")
    assert result.code == 0
    assert "Spearman" in result.out
    ((command, table),) = json.loads((tmp_path / "scores.json").read_text())["tables"].items()
    assert command.startswith("unbraid evaluate")
    assert table.strip() == result.out.strip()


def test_evaluate_refuses_an_unknown_mode_before_any_work(unbraid, tmp_path):
    sts = tmp_path / "tiny.jsonl"
    sts.write_text(json.dumps({"a": "moon", "b": "river", "score": 0.2}) + "\n")
    result = unbraid("evaluate", sts, "--mode", "nonsense")
    assert result.code == 2
    assert "nonsense" in result.err


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"tables": 3}'])
def test_a_bad_record_file_is_refused_before_any_work(unbraid, tmp_path, content):
    record = tmp_path / ("scores.json" if content else "nowhere/scores.json")
    if content:
        record.write_text(content)
    result = unbraid("evaluate", tmp_path / "absent.jsonl", "--record", record)
    assert result.code == 2
    assert str(record) in result.err


def test_a_line_of_stdin_is_one_item_whatever_is_in_it(unbraid):
    result = unbraid("encode", "--dim", 64, stdin="moon\x0criver\u2028cat\r\n\ndog")
    assert [json.loads(line)["item"] for line in result.out.split("\n") if line] == [
        "moon\x0criver\u2028cat",
        "",
        "dog",
    ]


def test_version_help_and_no_arguments(unbraid):
    assert unbraid("--version", model=False).out.strip()
    assert "search" in unbraid("--help", model=False).out
    assert unbraid(model=False).code == 2


def test_the_module_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "unbraid", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip()
