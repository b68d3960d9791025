"""Data sets in Jina-VDR's layout: a folder each for corpus, queries and qrels, with Parquet files of the splits."""

import io
import json
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid.errors import DataError
from unbraid.evaluation.datasets.read_dataset import read_dataset
from unbraid.items import Code

COLOURS = ["red", "green", "blue"]


def picture(colour: str, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, kind)
    return buffer.getvalue()


def write(folder: Path, part: str, rows: list[dict], split: str = "test") -> None:
    (folder / part).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / part / f"{split}-00000-of-00001.parquet")


def jina_vdr(folder: Path, split: str = "test") -> Path:
    """Three pages, as the published sets have them: whole numbers as ids, pictures as bytes with a path."""
    pages = [
        {"corpus-id": number, "image": {"bytes": picture(colour, kind), "path": None}}
        for number, (colour, kind) in enumerate(zip(COLOURS, ("PNG", "JPEG", "WEBP"), strict=True))
    ]
    write(folder, "corpus", pages, split)
    queries = [{"query-id": number, "query": f"a {colour} page"} for number, colour in enumerate(COLOURS)]
    write(folder, "queries", queries, split)
    qrels = [{"query-id": number, "corpus-id": number, "score": 1} for number in range(2)]
    write(folder, "qrels", [*qrels, {"query-id": 2, "corpus-id": 0, "score": 0}], split)
    return folder


def test_queries_search_pages(tmp_path):
    found = read_dataset(jina_vdr(tmp_path / "charts_beir"))
    assert found.name == "charts_beir"
    assert found.queries == {"0": "a red page", "1": "a green page"}  # the third has no relevant page
    assert found.qrels == {"0": {"0": 1}, "1": {"1": 1}}
    assert (found.query_modality, found.document_modality, found.mode) == ("text", "image", "retrieval")
    assert list(found.documents) == ["0", "1", "2"]
    written = [path.read_bytes() for path in found.documents.values()]
    assert written == [picture(*one) for one in zip(COLOURS, ("PNG", "JPEG", "WEBP"), strict=True)]


def test_pages_are_deleted_with_the_set(tmp_path):
    found = read_dataset(jina_vdr(tmp_path))
    page = found.documents["0"]
    assert page.exists()
    del found
    assert not page.exists()


def test_a_language_is_a_set_of_its_own_and_must_be_named(tmp_path):
    for language in ("de", "ar"):
        jina_vdr(tmp_path / language)
    with pytest.raises(DataError, match="holds the sets ar, de: name one, such as .*ar"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path / "de").name == "de"


def test_the_corpus_may_have_one_split_for_all(tmp_path):
    jina_vdr(tmp_path, "test")
    for part in ("queries", "qrels"):
        (tmp_path / part / "test-00000-of-00001.parquet").rename(
            tmp_path / part / "dev-00000-of-00001.parquet"
        )
    assert len(read_dataset(tmp_path, split="dev").documents) == 3
    with pytest.raises(DataError, match=r"qrels: found the splits \['dev'\], expected train"):
        read_dataset(tmp_path, split="train")


def test_several_files_of_a_split_are_one(tmp_path):
    jina_vdr(tmp_path)
    more = [{"corpus-id": 3, "image": {"bytes": picture("white"), "path": None}}]
    pq.write_table(pa.Table.from_pylist(more), tmp_path / "corpus" / "test-00001-of-00002.parquet")
    assert list(read_dataset(tmp_path).documents) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("mode", [None, "code"])
def test_texts_as_mteb_publishes_them(tmp_path, mode):
    write(tmp_path, "corpus", [{"_id": "d1", "title": "Bees", "text": "make honey"}])
    write(tmp_path, "queries", [{"_id": "q1", "text": "who makes honey"}])
    write(tmp_path, "qrels", [{"query-id": "q1", "corpus-id": "d1", "score": 1.0}])
    found = read_dataset(tmp_path, mode=mode)
    assert found.documents == {"d1": Code("Bees make honey") if mode else "Bees make honey"}
    assert (found.document_modality, found.mode) == (("code", "code") if mode else ("text", "retrieval"))


@pytest.mark.parametrize(
    ("part", "rows", "message"),
    [
        (
            "queries",
            [{"query-id": 0, "words": "a"}],
            "found the columns query-id, words, expected query or text",
        ),
        (
            "queries",
            [{"query-id": 0, "query": "a"}] * 2,
            "queries: found 'a' for id 0, expected a text, once",
        ),
        ("queries", [{"query-id": 0.5, "query": "a"}], "an id is 0.5, expected a text or a whole number"),
        (
            "corpus",
            [{"corpus-id": 0, "image": {"bytes": None, "path": "a.png"}}],
            "found None for id 0, expected the",
        ),
        ("corpus", [{"corpus-id": 0, "image": 3}], "found 3 for id 0, expected the bytes of a picture"),
        (
            "qrels",
            [{"query-id": 0, "corpus-id": 0, "score": float("nan")}],
            "found nan for id 0, expected a number",
        ),
        ("qrels", [{"query-id": 7, "corpus-id": 0, "score": 1}], "found no relevant document for a query"),
    ],
)
def test_wrong_rows_are_named(tmp_path, part, rows, message):
    write(jina_vdr(tmp_path), part, rows)
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path)


def test_relevant_pages_that_are_absent_are_warned_about(tmp_path):
    jina_vdr(tmp_path)
    write(tmp_path, "qrels", [{"query-id": 0, "corpus-id": number, "score": 1} for number in (0, 9)])
    with pytest.warns(UserWarning, match="1 relevant documents, such as '9', are not in corpus/") as told:
        read_dataset(tmp_path)
    assert told[0].filename == __file__


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return jina_vdr(tmp_path_factory.mktemp("whole"))


@settings(max_examples=30)
@given(
    part=st.sampled_from(["corpus", "queries", "qrels"]),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4),
    kept=st.sampled_from([1.0, 1.0, 0.99, 0.5, 0.0]),
)
def test_a_damaged_file_is_read_or_refused(whole, part, changes, kept):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(whole, Path(place) / "set"))
        path = folder / part / "test-00000-of-00001.parquet"
        content = bytearray(path.read_bytes())
        for position, value in changes:
            content[position % len(content)] = value
        path.write_bytes(content[: int(kept * len(content))])
        try:
            read_dataset(folder)
        except DataError as error:
            assert str(folder) in str(error)


def test_evaluate_scores_it(tiny, tmp_path, capsys, monkeypatch):
    from unbraid.cli import main as cli

    words = [
        "unbraid",
        "evaluate",
        str(jina_vdr(tmp_path)),
        "--model",
        str(tiny.bundle),
        "--no-baselines",
        "--json",
    ]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (row["kind"], row["n_queries"], row["n_documents"]) == ("image", 2, 3)
    assert row["scores"]["Recall@10"]["value"] == 1  # three pages, and ten are looked at
