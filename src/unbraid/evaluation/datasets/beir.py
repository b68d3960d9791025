"""BEIR folders: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, each of them gzip or not."""

import warnings
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from pathlib import Path

from unbraid.errors import DataError
from unbraid.evaluation.datasets.dataset import Retrieval
from unbraid.evaluation.datasets.languages import is_code
from unbraid.io.jsonl import Line, read_rows, read_text_lines, wrong
from unbraid.items import Code

SPLIT_ORDER = ("test", "dev")


def read_beir(folder: Path, split: str | None, mode: str | None) -> Retrieval:
    """The set in `folder` with the qrels of `split`, without queries that have no relevant document."""
    corpus = list(read_rows(_either(folder / "corpus.jsonl")))
    texts = _by_id(corpus, _document_text)
    asked = _by_id(read_rows(_either(folder / "queries.jsonl")), lambda line: line.text("text"))
    qrels_file, judged = _read_qrels(folder, split)
    qrels = answerable(judged, asked, texts, qrels_file, "corpus.jsonl")
    # In sets such as ArguAna the query is itself one of the documents; BEIR leaves that one out of the ranking.
    itself = {q: q for q, d in qrels.items() if q in texts and d.get(q, 0) < 1 and asked[q] in texts[q]}
    of_code = mode == "code" or is_code(corpus)
    return Retrieval(
        name=folder.name,
        queries={query: asked[query] for query in qrels},
        documents={d: Code(text) for d, text in texts.items()} if of_code else texts,
        qrels=qrels,
        document_modality="code" if of_code else "text",
        mode=mode or ("code" if of_code else "retrieval"),
        ignored=itself,
    )


def answerable(
    judged: Mapping[str, dict[str, int]],
    asked: Container[str],
    documents: Collection[str],
    source: Path,
    corpus: str,
) -> dict[str, dict[str, int]]:
    """The judgements of queries that are asked and have a relevant document; `source` is where they come from.

    A query that is judged but not asked in this copy of a set is left out, as in BEIR. Warns of relevant documents that
    are not in the corpus. Raises DataError when nothing is left.
    """
    qrels = {query: d for query, d in judged.items() if query in asked and max(d.values()) > 0}
    if not qrels or not documents:
        raise DataError(f"{source}: found no relevant document for a query of its set")
    relevant = {d for found in qrels.values() for d, relevance in found.items() if relevance > 0}
    if missing := sorted(relevant - set(documents)):
        warnings.warn(
            f"{source}: {len(missing)} relevant documents, such as {missing[0]!r}, are not in {corpus}: they count as"
            " not found, as in trec_eval",
            stacklevel=4,  # the caller of read_dataset
        )
    return qrels


def _either(path: Path) -> Path:
    """`path` or `path`.gz, whichever is there. Raises DataError when neither is."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    names = f"{path.name} or {path.name}.gz"
    raise DataError(f"{path.parent}: found no {names}, expected a BEIR folder to hold one")


def _by_id(lines: Iterable[Line], text_of: Callable[[Line], str]) -> dict[str, str]:
    """The text of each line under its `_id` (text or a whole number), which occurs once."""
    texts: dict[str, str] = {}
    for line in lines:
        name = line.row.get("_id")
        if isinstance(name, bool) or not isinstance(name, str | int) or str(name) in texts:
            raise line.wrong(f"_id {name!r}", "text in the field _id that no other line has")
        texts[str(name)] = text_of(line)
    return texts


def _document_text(line: Line) -> str:
    """Title and text of a document. Either may be empty, as some are in TREC-COVID; `text` must be there."""
    text = line.text("text", "" if "text" in line.row else None)
    return f"{line.text('title', '')} {text}".strip()


def _read_qrels(folder: Path, split: str | None) -> tuple[Path, dict[str, dict[str, int]]]:
    """The qrels file of `split` (or the first of test, dev, any other) and its judgements."""
    files = {f.name.removesuffix(".gz").removesuffix(".tsv"): f for f in sorted(folder.glob("qrels/*.tsv*"))}
    order = [split] if split else [*SPLIT_ORDER, *files]
    path = next((files[name] for name in order if name in files), None)
    if path is None:
        wanted = f"{split}.tsv" if split else "a .tsv file"
        raise DataError(f"{folder / 'qrels'}: found {sorted(files) or 'no qrels'}, expected {wanted}")
    judged: dict[str, dict[str, int]] = {}
    for number, text in read_text_lines(path):
        columns = text.split("\t")
        try:
            query, document, relevance = columns[0], columns[1], int(columns[2])
        except (IndexError, ValueError):
            if number == 1 and len(columns) == 3:
                continue  # the header: query-id, corpus-id, score
            expected = "query id, document id and a whole number between tabs"
            raise wrong(path, number, repr(text[:60]), expected) from None
        # trec_eval counts in C ints.
        judged.setdefault(query, {})[document] = min(max(relevance, 0), 1_000_000)
    return path, judged
