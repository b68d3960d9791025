"""Rows of measurements as markdown tables and as JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def markdown_table(cells: Sequence[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """An aligned markdown table of lines of cells, the first its head; columns from `numbers_from` on align right."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    first = len(widths) if numbers_from is None else numbers_from
    rule = ["-" * width if i < first else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    aligned = [
        [
            cell.ljust(w) if i < first else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [aligned[0], rule, *aligned[1:]])


def json_value(value: Any) -> Any:
    """`value` with text keys, lists and null for NaN, as strict JSON needs."""
    if isinstance(value, Mapping):
        return {str(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
