"""Read a data set of any format: a BEIR folder, one of Parquet, or a file of pairs, STS rows or captioned images.

The content tells the format. Broken input raises DataError that names the file and the line.
"""

from pathlib import Path

from unbraid.errors import DataError
from unbraid.evaluation.datasets.beir import read_beir
from unbraid.evaluation.datasets.caption_files import read_pictures
from unbraid.evaluation.datasets.dataset import Retrieval, Sts, sample
from unbraid.evaluation.datasets.pair_files import read_pairs, read_sts
from unbraid.evaluation.datasets.parquet_folder import is_parquet_folder, read_parquet_folder
from unbraid.io.jsonl import Line, read_rows


def read_dataset(
    path: Path | str, *, split: str | None = None, mode: str | None = None, limit: int | None = None
) -> Retrieval | Sts:
    """The data set at `path`: a folder, or a .jsonl or .jsonl.gz of pairs, STS rows or captioned images.

    A folder is one of BEIR, or of Parquet as Jina-VDR's are. `split` keeps the rows of that split; for a folder it names
    the qrels (otherwise test, then dev).
    `mode` replaces the set's own search mode, and mode="code" reads the documents as code. `limit` keeps a
    sample (see `sample`). Raises DataError for input that is broken or of another format.
    """
    path = Path(path)
    if path.is_dir() and is_parquet_folder(path):
        dataset: Retrieval | Sts = read_parquet_folder(path, split, mode)
    elif path.is_dir():
        dataset = read_beir(path, split, mode)
    else:
        lines = list(read_rows(path))
        if not lines:
            raise DataError(f"{path}: found no rows, expected at least one JSON object")
        keys = lines[0].row.keys()
        if keys >= {"a", "b", "score"}:
            dataset = read_sts(path, _of_split(lines, split))
        elif "positive" in keys and keys & {"anchor", "query"}:
            dataset = read_pairs(path, _of_split(lines, split), mode)
        elif "file" in keys:
            dataset = read_pictures(path, _of_split(lines, split), mode)
        else:
            expected = "query (or anchor) and positive, or a, b and score, or file and caption"
            raise lines[0].wrong(f"the fields {sorted(keys)}", expected)
    return dataset if limit is None else sample(dataset, limit)


def _of_split(lines: list[Line], split: str | None) -> list[Line]:
    """The rows whose `split` field is `split`; all rows when None."""
    kept = [line for line in lines if split is None or line.row.get("split") == split]
    if not kept:
        found = sorted({str(line.row["split"]) for line in lines if "split" in line.row})
        raise DataError(f"{lines[0].path}: found the splits {found or 'of no row'}, expected {split!r}")
    return kept
