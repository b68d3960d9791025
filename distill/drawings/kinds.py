"""The kinds of drawing, and `draw`, which gives the same pixels and captions in every process.

The captions are true of the drawing and go from general to detailed, so that an image encoder trained on them
learns to read pictures as well as name them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image

from unbraid.distill.drawings.arrangements import one_object, shapes, some_objects
from unbraid.distill.drawings.bars import bar_chart, histogram
from unbraid.distill.drawings.charts import line_chart, pie_chart, scatter_plot
from unbraid.distill.drawings.code_editor import code_screenshot
from unbraid.distill.drawings.diagrams import flow_diagram, network_graph, tree_diagram
from unbraid.distill.drawings.maps import region_map
from unbraid.distill.drawings.pages import page
from unbraid.distill.drawings.scenes import scene
from unbraid.distill.drawings.sheet import Sheet
from unbraid.distill.drawings.tables import table


@dataclass(frozen=True)
class Drawing:
    """An RGB image of 200 to 300 pixels on its longer side, and true captions, the most general first."""

    image: Image.Image
    captions: tuple[str, ...]
    kind: str


_DRAWERS: dict[str, tuple[Callable[[Sheet], list[str]], int]] = {
    "bar chart": (bar_chart, 4),
    "line chart": (line_chart, 4),
    "scatter plot": (scatter_plot, 3),
    "pie chart": (pie_chart, 3),
    "histogram": (histogram, 2),
    "table": (table, 4),
    "flow diagram": (flow_diagram, 2),
    "tree diagram": (tree_diagram, 2),
    "network graph": (network_graph, 1),
    "page": (page, 4),
    "code": (code_screenshot, 3),
    "map": (region_map, 2),
    "object": (one_object, 2),
    "objects": (some_objects, 2),
    "scene": (scene, 2),
    "shapes": (shapes, 1),
}
KINDS: tuple[str, ...] = tuple(_DRAWERS)
# Mostly what people look for among pictures of their own: charts, tables, pages and screenshots.
_WEIGHTS = tuple(weight for _, weight in _DRAWERS.values())
_PAPERS = [(255, 255, 255)] * 6 + [
    (250, 245, 230),
    (240, 244, 250),
    (246, 246, 246),
    (30, 32, 40),
    (18, 28, 44),
]


def draw(seed: int, kind: str | None = None) -> Drawing:
    """The drawing of this seed; of one `kind` when given, else of a kind the seed chooses."""
    rng = Random(seed)
    chosen = rng.choices(KINDS, _WEIGHTS)[0]
    kind = kind or chosen
    long, ratio = rng.randint(200, 300), rng.choice([1.0, 0.9, 0.8, 0.75, 0.7, 0.65])
    width, height = (long, round(long * ratio)) if rng.random() < 0.75 else (round(long * ratio), long)
    if kind == "page" and rng.random() < 0.7:
        width, height = min(width, height), max(width, height)
    sheet = Sheet(rng, Image.new("RGB", (width, height)), (255, 255, 255), (30, 30, 34))
    sheet.fill(rng.choice(_PAPERS))
    captions = _DRAWERS[kind][0](sheet)
    return Drawing(sheet.image, tuple(dict.fromkeys(captions)), kind)
