"""The model card of a folder of stock modules."""

from collections.abc import Sequence

from unbraid.bundle import Bundle

WRITTEN_BY = "Written by `unbraid export-st`."
_LOADING = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
```"""
_CALLS = {
    "query": ("model.encode_query(texts)", "questions, to search documents with"),
    "document": ("model.encode_document(texts)", "what is searched"),
    "symmetric": ('model.encode(texts, task="symmetric")', "both sides of a comparison"),
    "code": ('model.encode(texts, task="code")', "program code"),
    "code-query": (
        'model.encode(texts, task="code-query")',
        "texts that search code",
    ),
    "base": ('model.encode(texts, task="base")', "base vectors, before any mapper"),
}


def stock_card(bundle: Bundle, tasks: Sequence[str], *, rounded: bool, left_out: Sequence[str]) -> str:
    """README.md of the folder that has `tasks`; `rounded` and `left_out` as in `StockFolder`."""
    rows = [_CALLS.get(task, (f'model.encode(texts, task="{task}")', "")) for task in tasks]
    limits = [
        "Weights come from int8 numbers, and activations are not rounded as in the bundle: vectors are near the "
        "bundle's, not equal to them."
        if rounded
        else "Vectors are those of the bundle's float32 graphs."
    ]
    if left_out:
        limits.append(f"Not in this folder: the encoder of {', '.join(left_out)}s.")
    if len(bundle.tiers) > 1:
        limits.append("A text is not routed by its language: every text of a task goes to the same encoder.")
    dims = ", ".join(map(str, bundle.dims))
    parts = [
        f"# {bundle.name} {bundle.version}, for sentence-transformers",
        f"{WRITTEN_BY} It needs no remote code.",
        _LOADING,
        "\n".join(["| call | for |", "| --- | --- |", *(f"| `{call}` | {use} |" for call, use in rows)]),
        f"Vectors have {bundle.dim} dimensions and unit length; `truncate_dim` may be one of {dims}.",
        "\n".join(f"- {limit}" for limit in limits),
        "## Data and licences\n\n" + "\n".join(f"- {name}: {one}" for name, one in bundle.licences.items()),
        f"Base space `{bundle.base_id}`, bundle `{bundle.id}`.",
    ]
    return "\n\n".join(parts) + "\n"
