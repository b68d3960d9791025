"""The ceiling as tables, as JSON and as a picture, and the stage that writes it into a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unbraid.distill.labels.label_store import read_description, read_shards
from unbraid.distill.space.base_space import BaseSpace
from unbraid.distill.space.ceiling import DIMS, RouteCeiling, fit_read_outs, route_ceilings
from unbraid.evaluation import Row, table, to_json
from unbraid.io.atomic import write_atomic

JSON, PICTURE = "ceiling.json", "ceiling.png"


@dataclass(frozen=True)
class Report:
    """The ceiling of a label store's teacher: by route on held-out items, and on labelled data sets."""

    teacher: str
    kept: float  # share of the energy of all task vectors together that the base space keeps
    routes: Sequence[RouteCeiling]
    datasets: Sequence[Row]

    def tables(self) -> str:
        """Both tables in markdown."""
        head = f"{self.teacher}: the joint base keeps {self.kept:.2%} of the energy of all task vectors"
        parts = [head, _route_table(self.routes)]
        return "\n\n".join([*parts, table(self.datasets)] if self.datasets else parts)

    def write(self, folder: Path) -> None:
        """Write ceiling.json and ceiling.png into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        _draw(folder / PICTURE, self)
        rows = [json.loads(line) for line in to_json(self.datasets).splitlines()]
        about = {
            "teacher": self.teacher,
            "energy kept": self.kept,
            "routes": [asdict(route) for route in self.routes],
            "datasets": rows,
        }
        # Written last: a folder with this file has a finished report.
        write_atomic(folder / JSON, json.dumps(about, indent=1).encode())


def write_ceiling(labels: Path, space: BaseSpace, folder: Path) -> str:
    """Write the report of the store in `labels`, without data sets, into `folder` unless it is there; its tables.

    Raises DataError as `fit_read_outs` does.
    """
    if (folder / JSON).exists():
        return f"ceiling: {folder / JSON}"
    read_outs, held = fit_read_outs(read_shards(labels), space)
    report = Report(read_description(labels)["teacher"], space.kept, route_ceilings(read_outs, held), [])
    report.write(folder)
    return report.tables()


def _route_table(routes: Sequence[RouteCeiling]) -> str:
    """A line for each route and number of dimensions."""
    cells = [
        [
            "route",
            "base dims",
            "energy kept",
            "cosine of read-out",
            "top-10 kept",
            "top-10, base alone",
            "items",
        ]
    ]
    for route in routes:
        for dim in DIMS:
            shares = [route.energy[dim], route.cosine[dim], route.top10[dim]]
            alone = f"{route.base_top10:.4f}" if dim == DIMS[0] else ""
            cells.append(
                [route.route, str(dim), *(f"{share:.4f}" for share in shares), alone, f"{route.items:,}"]
            )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    cells.insert(1, ["-" * width for width in widths])
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
    ]
    return "\n".join(f"| {line} |" for line in lines)


def _draw(path: Path, report: Report) -> None:
    """A panel for each measure over the dimensions of the base, a line for each route or data set."""
    from matplotlib.figure import Figure

    panels: dict[str, Mapping[str, Sequence[float]]] = {
        "energy kept": {one.route: [one.energy[dim] for dim in DIMS] for one in report.routes},
        "cosine of read-out": {one.route: [one.cosine[dim] for dim in DIMS] for one in report.routes},
        "top-10 kept": {one.route: [one.top10[dim] for dim in DIMS] for one in report.routes},
    }
    if report.datasets:
        panels["share of the teacher's score"] = _shares(report.datasets)
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
    for panel, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, values in lines.items():
            panel.plot(DIMS, values, marker="o", label=name)
        panel.set_xscale("log", base=2)
        panel.set_xticks(DIMS, [str(dim) for dim in DIMS])
        panel.set_xlabel("dimensions of the base")
        panel.set_title(title)
        panel.legend(fontsize=7)
    figure.savefig(path, dpi=100)


def _shares(rows: Sequence[Row]) -> dict[str, list[float]]:
    """The read-outs' main score at each of DIMS as a share of the teacher's, by data set.

    The teacher's row comes first of a set's rows, the read-outs' last.
    """
    sets: dict[str, list[float]] = {}
    for row in rows:
        sets.setdefault(row.dataset, []).append(next(iter(row.scores.values())).value)
    return {name: [value / scores[0] for value in scores[-len(DIMS) :]] for name, scores in sets.items()}
