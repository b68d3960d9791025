"""Files of pairs: an anchor and the positive it should find, or two sentences and their similarity (STS)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from unbraid.errors import DataError
from unbraid.evaluation.datasets.dataset import Retrieval, Sts
from unbraid.evaluation.datasets.languages import is_code
from unbraid.io.jsonl import Line
from unbraid.items import Code, Item, item_modality


def read_pairs(path: Path, lines: list[Line], mode: str | None) -> Retrieval:
    """Anchors search all distinct positives; an anchor that occurs again has several relevant ones."""
    to_code = mode == "code" or is_code(lines)
    from_code = to_code and is_code(lines, of_anchor=True)
    return from_pairs(
        path,
        [(line.text("query" if "query" in line.row else "anchor"), line.text("positive")) for line in lines],
        query_of=Code if from_code else str,
        document_of=Code if to_code else str,
        mode=mode,
    )


def from_pairs(
    path: Path,
    pairs: Sequence[tuple[str, str]],
    *,
    document_of: Callable[[str], Item],
    query_of: Callable[[str], Item] = str,
    mode: str | None,
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
    document_modality = item_modality(document_of(pairs[0][1]))
    return Retrieval(
        name=stem(path),
        queries={i: query_of(text) for text, i in queries.items()},
        documents={i: document_of(text) for text, i in documents.items()},
        qrels=qrels,
        query_modality=item_modality(query_of(next(iter(queries)))),
        document_modality=document_modality,
        mode=mode or ("code" if document_modality == "code" else "retrieval"),
    )


def read_sts(path: Path, lines: list[Line]) -> Sts:
    """Sentences `a` and `b` of each row and its `score`."""
    for line in lines:
        score = line.row.get("score")
        # NaN fails the comparison too.
        if isinstance(score, bool) or not isinstance(score, int | float) or not -1e6 < score < 1e6:
            raise line.wrong(f"score {str(score)[:60]}", "a number such as 0.8")
    return Sts(
        stem(path),
        [line.text("a") for line in lines],
        [line.text("b") for line in lines],
        [float(line.row["score"]) for line in lines],
    )


def stem(path: Path) -> str:
    """The name of a .jsonl or .jsonl.gz file without its suffixes."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl")
