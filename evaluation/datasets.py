"""Data sets read into two shapes: `Retrieval` (queries, documents, judgements) and `Sts` (scored pairs).

Four formats, told apart by what is in them: a BEIR folder, a pair file, an STS file, and an image-caption file
beside its pictures. Whatever is broken in one is a DataError that names the file and the line.
"""

import gzip
import json
import shutil
import tarfile
import tempfile
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from unbraid.errors import DataError
from unbraid.items import IMAGE_SUFFIXES, Code, Item, Modality

MAX_IMAGE_BYTES = 64 * 2**20
CAPTION_FIELDS = ("caption", "alt", "title")
SPLIT_ORDER = ("test", "dev")
# Values of `lang` that make a positive code. Names that are also language tags (cs, pl, ts, sh) are left out.
CODE_LANGUAGES = frozenset(
    """
    bash c c# c++ clojure cpp csharp css dart elixir erlang fortran go golang haskell java javascript js julia kotlin
    lua matlab objective-c ocaml perl php powershell python python3 r ruby rust scala shell sql swift typescript zig
    """.split()  # noqa: SIM905
)

# One parsed JSON line: its file, its line number (from 1), its fields (Any: whatever the JSON held).
Line: TypeAlias = "tuple[Path, int, dict[str, Any]]"


class _Scratch:
    """A temporary folder that goes away with the last data set that points into it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="unbraid-images-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Retrieval:
    """Queries, documents and who is relevant to whom; both are id -> item, in file order.

    Pictures that came out of a tar are files of a temporary folder, which is deleted with the data set.
    """

    name: str
    queries: Mapping[str, Item]
    documents: Mapping[str, Item]
    qrels: Mapping[str, Mapping[str, int]]  # query id -> document id -> relevance, 0 is judged not relevant
    query_modality: Modality = "text"
    document_modality: Modality = "text"
    mode: str = "retrieval"  # the search mode the set is made for
    ignored: Mapping[str, str] = field(
        default_factory=dict
    )  # query id -> the document that is the query itself
    scratch: _Scratch | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Sts:
    """Sentence pairs and how similar people found them: three lists of one length."""

    name: str
    a: list[str]
    b: list[str]
    scores: list[float]


def read_dataset(
    path: Path | str, *, split: str | None = None, mode: str | None = None, limit: int | None = None
) -> Retrieval | Sts:
    """The data set at `path`: a BEIR folder, or a .jsonl or .jsonl.gz of pairs, STS rows or captioned images.

    `split` keeps the rows of that split; for a BEIR folder it names the qrels file (otherwise test, then dev).
    `mode` replaces the set's own search mode, and mode="code" reads the documents as code. `limit` keeps a
    sample, see `sample`. Raises DataError for input that is broken or of another format.
    """
    path = Path(path)
    if path.is_dir():
        dataset: Retrieval | Sts = _read_beir(path, split, mode)
    else:
        lines = list(_read_lines(path))
        if not lines:
            raise DataError(f"{path}: found no rows, expected at least one JSON object")
        keys = lines[0][2].keys()
        if keys >= {"a", "b", "score"}:
            dataset = _read_sts(path, _of_split(lines, split))
        elif keys >= {"anchor", "positive"}:
            dataset = _read_pairs(path, _of_split(lines, split), mode)
        elif "file" in keys:
            dataset = _read_images(path, _of_split(lines, split), mode)
        else:
            expected = "anchor and positive, or a, b and score, or file and caption"
            raise _wrong(lines[0], f"the fields {sorted(keys)}", expected)
    return dataset if limit is None else sample(dataset, limit)


def sample(dataset: Retrieval | Sts, limit: int, seed: int = 0) -> Retrieval | Sts:
    """The same set with at most `limit` queries (or STS rows), drawn by `seed`; the documents stay whole."""
    if limit < 1:
        raise ValueError(f"limit is {limit}, expected at least 1")
    n = len(dataset.queries if isinstance(dataset, Retrieval) else dataset.a)
    if n <= limit:
        return dataset
    rows = np.sort(np.random.default_rng(seed).choice(n, limit, replace=False)).tolist()
    if isinstance(dataset, Sts):
        a, b, scores = dataset.a, dataset.b, dataset.scores
        return Sts(dataset.name, [a[r] for r in rows], [b[r] for r in rows], [scores[r] for r in rows])
    ids = list(dataset.queries)
    return replace(dataset, queries={ids[r]: dataset.queries[ids[r]] for r in rows})


# --- the four formats ---


def _read_beir(folder: Path, split: str | None, mode: str | None) -> Retrieval:
    """BEIR: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv. Queries without a relevant document are not run."""
    corpus = list(_read_lines(_either(folder / "corpus.jsonl")))
    texts = _by_id(corpus, _document_text)
    asked = _by_id(_read_lines(_either(folder / "queries.jsonl")), lambda line: _text(line, "text"))
    qrels_file, judged = _read_qrels(folder, split)
    # A query that is judged but not asked in this copy of the set is left out, as in BEIR.
    qrels = {query: d for query, d in judged.items() if query in asked and max(d.values()) > 0}
    if not qrels or not texts:
        raise DataError(f"{qrels_file}: found no relevant document for a query of {folder}/queries.jsonl")
    relevant = {d for documents in qrels.values() for d, relevance in documents.items() if relevance > 0}
    if missing := sorted(relevant - texts.keys()):
        warnings.warn(
            f"{qrels_file}: {len(missing)} relevant documents, such as {missing[0]!r}, are not in"
            f" {folder}/corpus.jsonl: they count as not found, as in trec_eval",
            stacklevel=3,
        )
    # In sets such as ArguAna the query is itself one of the documents; BEIR leaves that one out of the ranking.
    itself = {q: q for q, d in qrels.items() if q in texts and d.get(q, 0) < 1 and asked[q] in texts[q]}
    is_code = mode == "code" or _is_code(corpus)
    return Retrieval(
        name=folder.name,
        queries={query: asked[query] for query in qrels},
        documents={d: Code(text) for d, text in texts.items()} if is_code else texts,
        qrels=qrels,
        document_modality="code" if is_code else "text",
        mode=mode or ("code" if is_code else "retrieval"),
        ignored=itself,
    )


def _read_pairs(path: Path, lines: list[Line], mode: str | None) -> Retrieval:
    """Anchors search all distinct positives; an anchor that occurs again has several relevant ones."""
    is_code = mode == "code" or _is_code(lines)
    from_code = is_code and _is_code(lines, of_anchor=True)
    pairs = [(_text(line, "anchor"), _text(line, "positive")) for line in lines]
    return _from_pairs(
        path,
        pairs,
        query_of=Code if from_code else str,
        document_of=Code if is_code else str,
        query_modality="code" if from_code else "text",
        document_modality="code" if is_code else "text",
        mode=mode or ("code" if is_code else "retrieval"),
    )


def _read_images(path: Path, lines: list[Line], mode: str | None) -> Retrieval:
    """Captions search pictures. A picture without a caption is a document that no query asks for."""
    captions = [_caption(row) for _, _, row in lines]
    if not any(captions):
        raise DataError(f"{path}: found no row with text in any of the fields {', '.join(CAPTION_FIELDS)}")
    wanted: dict[str, Line] = {}
    for line in lines:
        name = PurePosixPath(_text(line, "file"))
        if name.is_absolute() or ".." in name.parts or name.suffix.lower() not in IMAGE_SUFFIXES:
            raise _wrong(
                line, f"file {str(name)!r}", f"a relative path ending in one of {sorted(IMAGE_SUFFIXES)}"
            )
        wanted.setdefault(str(name), line)
    folder = path.parent / _stem(path)
    scratch = None
    if (tar := path.parent / f"{_stem(path)}.tar").is_file():
        scratch = _Scratch()
        folder = scratch.folder
        _extract(tar, wanted, folder)
    elif not folder.is_dir():
        raise DataError(f"{path}: found neither {tar.name} nor a folder {folder.name}/ beside it")
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    if missing := next((name for name in wanted if name not in present), None):
        where = tar if scratch else folder
        raise _wrong(wanted[missing], f"file {missing!r}", f"a regular file of that name in {where}")
    names = [str(PurePosixPath(line[2]["file"])) for line in lines]
    dataset = _from_pairs(
        path,
        list(zip(captions, names, strict=True)),
        document_of=lambda name: folder / name,
        document_modality="image",
        mode=mode or "retrieval",
    )
    return replace(dataset, scratch=scratch)


def _read_sts(path: Path, lines: list[Line]) -> Sts:
    for line in lines:
        score = line[2].get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not -1e6 < score < 1e6:
            raise _wrong(
                line, f"score {str(score)[:60]}", "a number such as 0.8"
            )  # NaN fails the comparison too
    return Sts(
        _stem(path),
        [_text(line, "a") for line in lines],
        [_text(line, "b") for line in lines],
        [float(line[2]["score"]) for line in lines],
    )


def _from_pairs(
    path: Path,
    pairs: list[tuple[str, str]],
    *,
    document_modality: Modality,
    mode: str,
    query_of: Callable[[str], Item] = str,
    document_of: Callable[[str], Item] = str,
    query_modality: Modality = "text",
) -> Retrieval:
    """(query, document) strings as a Retrieval; a pair with an empty query only adds its document."""
    documents = {text: f"d{i}" for i, text in enumerate(dict.fromkeys(document for _, document in pairs))}
    queries = {text: f"q{i}" for i, text in enumerate(dict.fromkeys(query for query, _ in pairs if query))}
    if not queries:
        raise DataError(f"{path}: found no row with a query that is not empty")
    qrels: dict[str, dict[str, int]] = {query: {} for query in queries.values()}
    for query, document in pairs:
        if query:
            qrels[queries[query]][documents[document]] = 1
    return Retrieval(
        name=_stem(path),
        queries={i: query_of(text) for text, i in queries.items()},
        documents={i: document_of(text) for text, i in documents.items()},
        qrels=qrels,
        query_modality=query_modality,
        document_modality=document_modality,
        mode=mode,
    )


# --- files and fields ---


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def _wrong(line: Line, found: str, expected: str) -> DataError:
    return DataError(f"{line[0]}, line {line[1]}: found {found}, expected {expected}")


def _either(path: Path) -> Path:
    """`path` or `path`.gz, whichever is there. Raises DataError when neither is."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{path.parent}: found no {path.name} or {path.name}.gz, expected a BEIR folder to hold one"
    )


def _read_text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers (from 1) and lines of a UTF-8 file, gzip or not by its first bytes; blank lines left out."""
    number = 0
    try:
        with open(path, "rb") as raw:
            opener = gzip.open if raw.read(2) == b"\x1f\x8b" else open
        with opener(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n\t "):
                    yield number, text
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x}"
        raise DataError(f"{path}, line {number}: found {found}, expected UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}, after line {number}: cannot be read: {error}") from error


def _read_lines(path: Path) -> Iterator[Line]:
    """The JSON objects of a .jsonl or .jsonl.gz file."""
    for number, text in _read_text_lines(path):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: also an integer of more than 4,300 digits
            raise DataError(f"{path}, line {number}: found {text[:60]!r}, expected JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: found {text[:60]!r}, expected a JSON object")
        yield path, number, row


def _read_qrels(folder: Path, split: str | None) -> tuple[Path, dict[str, dict[str, int]]]:
    """The qrels file of `split` (or the first of test, dev, any other) and its judgements."""
    files = {f.name.removesuffix(".gz").removesuffix(".tsv"): f for f in sorted(folder.glob("qrels/*.tsv*"))}
    order = [split] if split else [*SPLIT_ORDER, *files]
    path = next((files[name] for name in order if name in files), None)
    if path is None:
        wanted = f"{split}.tsv" if split else "a .tsv file"
        raise DataError(f"{folder / 'qrels'}: found {sorted(files) or 'no qrels'}, expected {wanted}")
    judged: dict[str, dict[str, int]] = {}
    for number, text in _read_text_lines(path):
        columns = text.split("\t")
        try:
            query, document, relevance = columns[0], columns[1], int(columns[2])
        except (IndexError, ValueError):
            if number == 1 and len(columns) == 3:
                continue  # the header: query-id, corpus-id, score
            expected = "query id, document id and a whole number between tabs"
            raise DataError(f"{path}, line {number}: found {text[:60]!r}, expected {expected}") from None
        judged.setdefault(query, {})[document] = min(
            max(relevance, 0), 1_000_000
        )  # trec_eval counts in C ints
    return path, judged


def _text(line: Line, name: str, default: str | None = None) -> str:
    """The string in field `name`; `default` for one that is absent or null. Raises DataError otherwise."""
    value = line[2].get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (not value and default is None):
        found = f"{name} {str(value)[:60]!r}" if name in line[2] else f"no field {name}"
        raise _wrong(line, found, f"text in the field {name}")
    return value


def _caption(row: dict[str, Any]) -> str:
    """The first caption field that holds text, "" when none does (some titles are objects: they are no text)."""
    texts = (value.strip() for name in CAPTION_FIELDS if isinstance(value := row.get(name), str))
    return next(filter(None, texts), "")


def _document_text(line: Line) -> str:
    """Title and text of a BEIR document. Either may be empty, as some are in TREC-COVID; `text` must be there."""
    text = _text(line, "text", "" if "text" in line[2] else None)
    return f"{_text(line, 'title', '')} {text}".strip()


def _by_id(lines: Iterable[Line], text_of: Callable[[Line], str]) -> dict[str, str]:
    """The text of each line under its `_id` (text or a whole number), which occurs once."""
    texts: dict[str, str] = {}
    for line in lines:
        name = line[2].get("_id")
        if isinstance(name, bool) or not isinstance(name, str | int) or str(name) in texts:
            raise _wrong(line, f"_id {name!r}", "text in the field _id that no other line has")
        texts[str(name)] = text_of(line)
    return texts


def _of_split(lines: list[Line], split: str | None) -> list[Line]:
    """The rows whose `split` field is `split`; all rows when None."""
    kept = [line for line in lines if split is None or line[2].get("split") == split]
    if not kept:
        found = sorted({str(line[2]["split"]) for line in lines if "split" in line[2]})
        raise DataError(f"{lines[0][0]}: found the splits {found or 'of no row'}, expected {split!r}")
    return kept


def _is_code(lines: list[Line], of_anchor: bool = False) -> bool:
    """Whether most rows name a programming language for the positive or, as in "java>csharp", for the anchor."""
    count = 0
    for _, _, row in lines:
        first, _, last = str(row.get("lang") or row.get("language") or "").lower().rpartition(">")
        count += (first if of_anchor else last) in CODE_LANGUAGES
    return 2 * count > len(lines)


def _extract(tar: Path, wanted: Mapping[str, Line], folder: Path) -> None:
    """Write the members of `tar` that are named in `wanted` to `folder`: regular files only, never outside it."""
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                member.name = str(PurePosixPath(member.name))  # "./a.jpg" and "a.jpg" are one
                if member.name in wanted and member.isreg():
                    if member.size > MAX_IMAGE_BYTES:
                        raise DataError(
                            f"{tar}: found {member.name!r} of {member.size} bytes, at most {MAX_IMAGE_BYTES}"
                        )
                    archive.extract(member, folder, filter="data")
    except DataError:
        raise
    except (
        tarfile.TarError,
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        RecursionError,
        OverflowError,
    ) as error:
        raise DataError(f"{tar}: cannot be read as a tar of images: {error}") from error
