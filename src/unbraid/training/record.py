"""The record of a finished stage: recipe, commit, results, and curves as numbers and as a picture."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from unbraid.io.atomic import write_atomic


def recipe_table(recipe: msgspec.Struct) -> dict[str, Any]:
    """A recipe as JSON holds it, for records and cards."""
    table: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    return table


def commit() -> str:
    """The commit of the code in use, with "+changes" when the tree differs from it; "unknown" outside git."""
    try:
        place = Path(__file__).parent
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=place, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=place, check=False).returncode
        return head + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write_record(
    folder: Path, recipe: msgspec.Struct, curves: Mapping[str, Sequence[float]], results: Mapping[str, object]
) -> None:
    """Write record.json (recipe, commit, results, curves) and curves.png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "recipe": recipe_table(recipe),
        "commit": commit(),
        "results": dict(results),
        "curves": {name: [round(value, 5) for value in values] for name, values in curves.items()},
    }
    if curves:
        draw_curves(folder / "curves.png", curves)
    # Written last: a stage that has its record is finished.
    write_atomic(folder / "record.json", json.dumps(record, indent=1).encode())


def draw_curves(path: Path, curves: Mapping[str, Sequence[float]]) -> None:
    """Draw each curve over training as one panel of a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(curves), 2.6), layout="constrained")
    for number, (name, values) in enumerate(curves.items(), 1):
        panel = figure.add_subplot(1, len(curves), number)
        panel.plot([step / max(len(values) - 1, 1) for step in range(len(values))], values)
        panel.set_title(name)
        panel.set_xlabel("share of training")
    figure.savefig(path, dpi=100)
