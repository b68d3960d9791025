"""`unbraid encode --multi-vector`."""

import json

import numpy as np
import pytest

LINES = "the cat is in the house\nred\n\nriver and moon and bright river\n"
ITEMS = LINES.split("\n")[:-1]


def read(unbraid, out, *words, stdin=LINES):
    pq = pytest.importorskip("pyarrow.parquet")
    done = unbraid("encode", "--multi-vector", "--tier", "small", "--out", out, *words, stdin=stdin)
    assert done.code == 0, done.err
    return pq.read_table(out)


def test_json_lines_hold_what_encode_gives(unbraid, embedder):
    done = unbraid("encode", "--multi-vector", "--tier", "small", stdin=LINES)
    rows = [json.loads(line) for line in done.out.splitlines()]
    expected = embedder.token_vectors(ITEMS, tier="small")
    assert [row["item"] for row in rows] == ITEMS
    for row, one in zip(rows, expected, strict=True):
        assert np.array_equal(np.array(row["vectors"], np.float32).reshape(-1, 8), one.vectors)
        assert np.array_equal(np.array(row["weights"], np.float32), one.weights)
    head = embedder.bundle.tiers["small"]["text"].multi_vector
    assert {(row["multi_vector_id"], row["tier"], row["numbers"]) for row in rows} == {
        (head.id, "small", "float32")
    }


def test_jsonl_equals_what_goes_to_stdout(unbraid, tmp_path):
    words = ("encode", "--multi-vector", "--vectors", 2, "--tier", "small")
    shown = unbraid(*words, stdin=LINES).out
    unbraid(*words, "--out", tmp_path / "v.jsonl", stdin=LINES)
    assert (tmp_path / "v.jsonl").read_text() == shown != ""


def test_parquet_has_a_list_of_fixed_size_vectors_and_says_what_made_them(unbraid, tmp_path, embedder):
    table = read(unbraid, tmp_path / "v.parquet")
    assert (
        str(table.schema.field("vectors").type) == ("list<element: fixed_size_list<element: float>[8]>")
        or table.schema.field("vectors").type.value_type.list_size == 8
    )
    about = json.loads(table.schema.metadata[b"unbraid"])
    assert about["multi_vector_id"] == embedder.bundle.tiers["small"]["text"].multi_vector.id
    assert about["vectors_at_most"] is None
    expected = embedder.token_vectors(ITEMS, tier="small")
    for vectors, weights, one in zip(table["vectors"], table["weights"], expected, strict=True):
        assert np.array_equal(np.array(vectors.as_py(), np.float32).reshape(-1, 8), one.vectors)
        assert np.array_equal(np.array(weights.as_py(), np.float32), one.weights)


def test_pandas_and_polars_read_the_vectors(unbraid, tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    table = read(unbraid, tmp_path / "v.parquet")
    lengths = [len(one) for one in table["vectors"].to_pylist()]
    assert lengths[2] == 0  # an empty line
    frame = pandas.read_parquet(tmp_path / "v.parquet")
    assert [np.vstack(one).shape if len(one) else (0, 8) for one in frame["vectors"]] == [
        (length, 8) for length in lengths
    ]
    columns = polars.read_parquet(tmp_path / "v.parquet")
    assert columns["vectors"].list.len().to_list() == lengths
    assert columns["vectors"].dtype == polars.List(polars.Array(polars.Float32, 8))


def test_a_budget_joins_vectors_and_float16_halves_them(unbraid, tmp_path, embedder):
    table = read(unbraid, tmp_path / "v.parquet", "--vectors", 2, "--numbers", "float16")
    assert "weights" not in table.schema.names
    expected = embedder.encode(ITEMS, multi_vector=True, vectors=2, tier="small")
    for vectors, one in zip(table["vectors"], expected, strict=True):
        assert len(vectors) == min(2, len(one))
        np.testing.assert_allclose(np.array(vectors.as_py(), np.float32).reshape(-1, 8), one, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--task", "query"), "no task"),
        (("--dim", "64"), "no shorter form"),
        (("--numbers", "int8"), "float32 or float16"),
        (("--engine", "ray"), "leave --engine out"),
        (("--out", "v.npy"), "use .parquet or .jsonl"),
        (("--out", "v.csv"), "unknown kind"),
        (("--tier", "nano"), "choose --tier small"),
        (("--vectors", "0"), "equal to 1"),
    ],
)
def test_what_multi_vectors_do_not_have_is_refused(unbraid, words, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = unbraid("encode", "--multi-vector", *words, stdin=LINES)
    assert (done.code, done.out) == (2, "") and why in done.err
    assert not list(tmp_path.iterdir())


def test_a_budget_needs_multi_vectors(unbraid):
    assert "goes with --multi-vector" in unbraid("encode", "--vectors", 2, stdin="cat\n").err


def test_a_picture_is_refused(unbraid, folder):
    done = unbraid("encode", folder / "moon.md", folder / "red.png", "--multi-vector")
    assert done.code == 2 and "pictures have no multi-vectors" in done.err


def test_no_items_make_a_file_without_rows(unbraid, tmp_path):
    assert read(unbraid, tmp_path / "v.parquet", stdin="").num_rows == 0
