"""The geometry of several models on the same pairs: measured, and shown as tables, JSON and a picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from unbraid.evaluation.geometry.captioned_pairs import Captioned
from unbraid.evaluation.geometry.measures import EDGES, TOP, Cosines, Geometry, Matching, Vectors, geometry
from unbraid.evaluation.tables import json_value, markdown_table
from unbraid.items import Item

JSON, PICTURE = "analysis.json", "analysis.png"
PAIRS, TEXTS, IMAGES = "image–text", "text–text", "image–image"
COLOURS = {  # safe for colour-blind readers (Okabe & Ito)
    f"matched {PAIRS}": "#0072b2",
    f"unmatched {PAIRS}": "#888888",
    f"matched {TEXTS}": "#e69f00",
    f"unmatched {TEXTS}": "#d55e00",
    f"unmatched {IMAGES}": "#009e73",
}
COSINES_KEY = (
    f"Mean cosines of matched / unmatched pairs, and the AUROC of the one above the other. Apart: AUROC of matched\n"
    f"{TEXTS} above matched {PAIRS}, the modality gap (0.5: none, 1: all)."
)
SPACE_KEY = (
    "Cone: mean cosine of unmatched captions, of unmatched pictures. (Chance.) → with the mean of each modality removed.\n"
    "Effective rank of captions, of pictures, at most {most}. Recall: captions that find their picture among {pairs}."
)


# Unit vectors [n, D] of queries and of documents, by search mode; None where nothing maps them.
Views: TypeAlias = Mapping[str | None, tuple[Vectors, Vectors]]


@dataclass(frozen=True)
class Row:
    """The geometry of one view of one model."""

    model: str
    mode: str | None
    about: Mapping[str, object]
    geometry: Geometry


def analyse(
    name: str,
    encode: Callable[[Sequence[Item], Sequence[Item]], Views],
    data: Captioned,
    *,
    about: Mapping[str, object],
) -> list[Row]:
    """A row for each view that `encode` returns for queries and documents, of the model `name`.

    Captions and first texts are the queries, pictures and second texts the documents. `about` holds the facts that
    decide the vectors.
    """
    captions, pictures = zip(*data.pictures, strict=True)
    first = [one for one, _ in data.texts]
    second = [other for _, other in data.texts]
    queries: list[Item] = list(dict.fromkeys([*captions, *first]))
    documents: list[Item] = [*pictures, *second]
    place = {text: row for row, text in enumerate(queries)}
    rows, n = [], len(pictures)
    views = encode(queries, documents)
    for mode, (query_vectors, document_vectors) in views.items():
        vectors = query_vectors[[place[text] for text in captions]], document_vectors[:n]
        if len(first) > 1:
            texts = query_vectors[[place[text] for text in first]], document_vectors[n:]
            measured = geometry(*vectors, *texts)
        else:
            measured = geometry(*vectors)
        plain = mode is None and len(views) > 1
        rows.append(Row(f"{name}, no mapper" if plain else name, mode, about, measured))
    return rows


@dataclass(frozen=True)
class Report:
    """Rows on one data set."""

    data: Captioned
    about: Mapping[str, object]  # how the data were chosen
    rows: Sequence[Row]

    def tables(self) -> str:
        """The data set, then a table of cosines and a table of the geometry, a line for each row."""
        one = self.rows[0].geometry
        head = f"{self.data.name}: {one.pairs} captions with their pictures; " + (
            f"text–text: {one.text_pairs} pairs, {self.data.texts_from}"
            if one.text_pairs
            else "no pairs of texts (--texts PAIRS gives some)"
        )
        space = SPACE_KEY.format(most=one.most_rank, pairs=one.pairs)
        return "\n\n".join(
            [
                head,
                COSINES_KEY,
                markdown_table(_cosine_cells(self.rows)),
                space,
                markdown_table(_space_cells(self.rows)),
            ]
        )

    def json_rows(self) -> str:
        """One JSON object a line."""
        return "\n".join(
            json.dumps({"dataset": self.data.name, **json_value(asdict(row))}, ensure_ascii=False)
            for row in self.rows
        )

    def write(self, folder: Path) -> None:
        """Write analysis.json and analysis.png into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        _draw(folder / PICTURE, self)
        about = {
            "dataset": self.data.name,
            "texts": self.data.texts_from,
            **self.about,
            "histogram edges": [round(edge, 3) for edge in EDGES.tolist()],
            "rows": [json_value(asdict(row)) for row in self.rows],
        }
        (folder / JSON).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _cosine_cells(rows: Sequence[Row]) -> list[list[str]]:
    cells = [["model", "mode", PAIRS, "AUROC", TEXTS, "AUROC", "apart"]]
    for row in rows:
        found = row.geometry
        apart = "" if found.apart is None else f"{found.apart:.3f}"
        pairs, texts = _matching(found.image_text), _matching(found.text_text)
        cells.append([row.model, row.mode or "", *pairs, *texts, apart])
    return cells


def _matching(found: Matching | None) -> list[str]:
    """Two cells, empty when nothing was found."""
    if found is None:
        return ["", ""]
    return [f"{found.matched.mean:.3f} / {found.unmatched.mean:.3f}", f"{found.auroc:.3f}"]


def _space_cells(rows: Sequence[Row]) -> list[list[str]]:
    cells = [["model", "mode", "cone", "centroid gap", "rank", *(f"recall@{k}" for k in TOP)]]
    for row in rows:
        found = row.geometry
        recalls = [
            f"{found.recall[k]:.3f} ({found.recall_by_chance[k]:.3f}) → {found.recall_centred[k]:.3f}"
            for k in TOP
        ]
        gap = f"{found.gap:.3f} ({found.gap_by_chance:.3f}) → {found.gap_centred:.3f}"
        cone = f"{found.texts.mean:.3f}, {found.images.mean:.3f}"
        rank = f"{found.text_rank:.0f}, {found.image_rank:.0f}"
        cells.append([row.model, row.mode or "", cone, gap, rank, *recalls])
    return cells


# --- picture ---


def _draw(path: Path, report: Report) -> None:
    """A line of panels for each row: the modality gap, the cone effect, and the cones of each modality."""
    from matplotlib.figure import Figure

    rows = report.rows
    figure = Figure(figsize=(12, 1.2 + 2.0 * len(rows)), layout="constrained")
    figure.suptitle(f"{report.data.name}, {rows[0].geometry.pairs} pairs", fontsize=11)
    grid = figure.subplots(len(rows), 3, sharex=True, squeeze=False)
    for panels, row in zip(grid, rows, strict=True):
        for panel, (title, note, shown) in zip(panels, _panels(row.geometry), strict=True):
            _histograms(panel, shown)
            panel.set_title(title if row is rows[0] else "", loc="left", fontsize=10)
            panel.set_title(note, loc="right", fontsize=8)  # above the bars, where it hides none
            panel.set_yticks([])
            panel.spines[["top", "right", "left"]].set_visible(False)
            if row is rows[-1]:
                panel.set_xlabel("cosine")
                panel.legend(
                    loc="upper center", bbox_to_anchor=(0.5, -0.32), ncols=2, fontsize=8, frameon=False
                )
        panels[0].set_ylabel(_label(row), fontsize=9)
    grid[0][0].set_xlim(*_occupied(rows))
    figure.savefig(path, dpi=110)


def _panels(found: Geometry) -> list[tuple[str, str, dict[str, Cosines]]]:
    """Title, note and histograms by name of the three panels of a row."""
    gap = {f"matched {PAIRS}": found.image_text.matched}
    if found.text_text:
        gap[f"matched {TEXTS}"] = found.text_text.matched
    cone = {f"matched {PAIRS}": found.image_text.matched, f"unmatched {PAIRS}": found.image_text.unmatched}
    inside = {f"unmatched {TEXTS}": found.texts, f"unmatched {IMAGES}": found.images}
    apart = "" if found.apart is None else f"AUROC {found.apart:.2f} (0.5: no gap)"
    told = f"AUROC {found.image_text.auroc:.2f} (0.5: not told apart)"
    centroids = f"centroid gap {found.gap:.2f} (chance {found.gap_by_chance:.2f})"
    return [("modality gap", apart, gap), ("cone effect", told, cone), ("cones", centroids, inside)]


def _histograms(panel: Any, shown: Mapping[str, Cosines]) -> None:
    """Shares of the pairs in each bin, their means as dashed lines."""
    for name, cosines in shown.items():
        shares = np.asarray(cosines.counts) / sum(cosines.counts)
        panel.stairs(shares, EDGES, fill=True, alpha=0.4, color=COLOURS[name], label=name)
        panel.stairs(shares, EDGES, color=COLOURS[name])
        panel.axvline(cosines.mean, color=COLOURS[name], linestyle="--", linewidth=1)


def _occupied(rows: Sequence[Row]) -> tuple[float, float]:
    """The range of cosines where any panel has a bar, with one more bin on each side."""
    shown = [
        one.counts for row in rows for _, _, cosines in _panels(row.geometry) for one in cosines.values()
    ]
    bins = np.flatnonzero(np.sum(shown, axis=0))
    return float(EDGES[max(bins[0] - 1, 0)]), float(EDGES[min(bins[-1] + 2, len(EDGES) - 1)])


def _label(row: Row) -> str:
    """Name and mode, broken at commas and before a mode, so that it fits beside a panel."""
    parts = [part.strip() for part in row.model.split(",")]
    return "\n".join([*parts, *([row.mode] if row.mode else [])])
