"""Folders of Parquet as Jina-VDR and ViDoRe publish them: corpus/, queries/ and qrels/, each with SPLIT-*.parquet.

Documents are pictures (or texts), and where a set has several languages each has a folder of its own with those three.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unbraid.errors import DataError
from unbraid.evaluation.datasets.beir import SPLIT_ORDER, answerable
from unbraid.evaluation.datasets.dataset import Retrieval, Scratch
from unbraid.io.vector_file import pyarrow
from unbraid.items import Code, Item, Modality

PARTS = ("corpus", "queries", "qrels")
MAX_IMAGE_BYTES = 64 * 2**20
ROWS = 32  # in memory at a time: a page of a document may have some MB
QUERY_ID = ("query-id", "_id", "id", "query_id")
DOCUMENT_ID = ("corpus-id", "_id", "id", "corpus_id")


def is_parquet_folder(folder: Path) -> bool:
    """Whether `folder`, or folders of languages in it, hold Parquet files of a corpus."""
    return any(folder.glob("corpus/*.parquet")) or any(folder.glob("*/corpus/*.parquet"))


def read_parquet_folder(folder: Path, split: str | None, mode: str | None) -> Retrieval:
    """The set in `folder` with the qrels of `split`; by default test, dev or the only one.

    Pictures are written to a temporary folder, which is deleted with the set. Raises DataError for a folder of several
    languages, of which one must be named, and for files that are broken or lack a column.
    """
    if not any(folder.glob("corpus/*.parquet")):
        languages = sorted(path.parent.parent.name for path in folder.glob("*/corpus/*.parquet"))
        found = list(dict.fromkeys(languages))
        raise DataError(f"{folder}: holds the sets {', '.join(found)}: name one, such as {folder / found[0]}")
    files = {part: _files(folder / part, split) for part in PARTS}
    asked: dict[str, str] = {}
    for name, row in _rows(files["queries"], QUERY_ID, {"text": ("query", "text")}):
        if not isinstance(row["text"], str) or name in asked:
            raise _wrong_row(folder / "queries", name, row["text"], "a text, once for each id")
        asked[name] = row["text"]
    documents, scratch = _documents(files["corpus"], of_code=mode == "code")
    judged: dict[str, dict[str, int]] = {}
    for name, row in _rows(files["qrels"], QUERY_ID[:1], {"document": DOCUMENT_ID[:1], "score": ("score",)}):
        score = row["score"]
        # NaN fails the comparison too.
        if isinstance(score, bool) or not isinstance(score, int | float) or not -1e6 <= score <= 1e6:
            raise _wrong_row(folder / "qrels", name, score, "a number as score")
        judged.setdefault(name, {})[str(row["document"])] = max(int(score), 0)
    qrels = answerable(judged, asked, documents, folder / "qrels", "corpus/")
    kind: Modality = "image" if scratch else "code" if mode == "code" else "text"
    return Retrieval(
        name=folder.name,
        queries={query: asked[query] for query in qrels},
        documents=documents,
        qrels=qrels,
        document_modality=kind,
        mode=mode or "retrieval",
        scratch=scratch,
    )


def _documents(files: list[Path], *, of_code: bool) -> tuple[dict[str, Item], Scratch | None]:
    """Documents by id, and the folder of their pictures; None where they are texts."""
    columns = _columns(files[0])
    documents: dict[str, Item] = {}
    if "image" not in columns:
        for name, row in _rows(files, DOCUMENT_ID, {"text": ("text",), "title": ("title", "text")}):
            title, text = row["title"] if "title" in columns else "", row["text"]
            if not isinstance(text, str) or not isinstance(title or "", str) or name in documents:
                raise _wrong_row(files[0].parent, name, text, "a text, once for each id")
            joined = f"{title or ''} {text}".strip()
            documents[name] = Code(joined) if of_code else joined
        return documents, None
    scratch = Scratch()
    for name, row in _rows(files, DOCUMENT_ID, {"image": ("image",)}):
        image = row["image"]
        content = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(content, bytes) or len(content) > MAX_IMAGE_BYTES or name in documents:
            expected = f"the bytes of a picture, at most {MAX_IMAGE_BYTES:,}, once for each id"
            raise _wrong_row(files[0].parent, name, content, expected)
        path = scratch.folder / f"{len(documents)}.png"  # what it really is its first bytes tell
        path.write_bytes(content)
        documents[name] = path
    return documents, scratch


def _files(folder: Path, split: str | None) -> list[Path]:
    """The Parquet files of `split` in a folder; where it has only one split, those."""
    splits: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.parquet")):
        splits.setdefault(path.stem.partition("-")[0], []).append(path)
    wanted = [split] if split else list(SPLIT_ORDER)
    chosen = next((splits[name] for name in wanted if name in splits), None)
    if chosen is None and len(splits) == 1 and (split is None or folder.name != "qrels"):
        (chosen,) = splits.values()  # a corpus may serve all splits
    if chosen is None:
        raise DataError(
            f"{folder}: found the splits {sorted(splits) or 'of no .parquet file'}, expected {' or '.join(wanted)}"
        )
    return chosen


def _rows(
    files: list[Path], ids: tuple[str, ...], wanted: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The id of each row and its wanted columns, each the first that a file has of several names."""
    for path in files:
        columns = _columns(path)
        names = {key: _first(path, columns, any_of) for key, any_of in {"": ids, **wanted}.items()}
        try:
            batches = (
                pyarrow()
                .parquet.ParquetFile(path)
                .iter_batches(ROWS, columns=list(dict.fromkeys(names.values())))
            )
            for batch in batches:
                for row in batch.to_pylist():
                    found = {key: row[name] for key, name in names.items()}
                    if isinstance(found[""], bool) or not isinstance(found[""], str | int):
                        raise DataError(f"{path}: an id is {found['']!r}, expected a text or a whole number")
                    yield str(found.pop("")), found
        except (OSError, UnicodeDecodeError, pyarrow().ArrowException) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {error}") from error


def _wrong_row(folder: Path, name: str, found: object, expected: str) -> DataError:
    told = f"{len(found):,} bytes" if isinstance(found, bytes) else repr(found)[:60]
    return DataError(f"{folder}: found {told} for id {name}, expected {expected}")


def _columns(path: Path) -> list[str]:
    try:
        names: list[str] = pyarrow().parquet.read_schema(path).names
    except (OSError, pyarrow().ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    return names


def _first(path: Path, columns: list[str], any_of: tuple[str, ...]) -> str:
    found = next((name for name in any_of if name in columns), None)
    if found is None:
        raise DataError(f"{path}: found the columns {', '.join(columns)}, expected {' or '.join(any_of)}")
    return found
