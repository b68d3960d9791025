"""The plot area of a chart: axes, ticks and legend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from unbraid.drawings.sheet import Colour, Font, Sheet, font, shade

@dataclass(frozen=True)
class _Plot:
    """The inner rectangle of a chart and the fonts around it."""

    x0: float
    y0: float
    x1: float
    y1: float
    small: Font
    top: float

    def y(self, value: float) -> float:
        """Height of `value` on an axis from 0 to `top`."""
        return self.y1 - value / self.top * (self.y1 - self.y0)


def _title(sheet: Sheet, text: str) -> float:
    """Write a title, if the drawing gets one; the y under it."""
    rng, (w, _) = sheet.rng, sheet.size
    if rng.random() < 0.12:
        return 10
    size = rng.randint(11, 16)
    while size > 8 and len(text) * size * 0.58 > w - 8:
        size -= 1
    style = font(size, rng.choice(["bold", "sans", "bold", "serif"]))
    if rng.random() < 0.75:
        sheet.write(w / 2, 5, text, style, "ma")
    else:
        sheet.write(8, 5, text, style, "la")
    return 5 + size * 1.4 + 4


def _axes(
    sheet: Sheet, title: str, top: float, unit: str = "", *, left: float = 0, legend: float = 0
) -> _Plot:
    """Draw title, axes, ticks and perhaps a grid for values from 0 to `top`."""
    rng, (w, h) = sheet.rng, sheet.size
    small = font(rng.randint(8, 10))
    y0, x0, x1, y1 = _title(sheet, title), left or 30, w - 8 - legend, h - 20
    if unit and unit != "n" and not left:
        sheet.write(4, y0, unit, small, "la")
        y0 += 12
    plot = _Plot(x0, y0, x1, y1, small, top)
    grid, faint = rng.random() < 0.5, shade(sheet.ink, -0.65 if sheet.is_dark else 0.82)
    steps = rng.randint(3, 6)
    for i in range(steps + 1 if not left else 0):
        y = plot.y(top * i / steps)
        if grid and i:
            sheet.pen.line((x0, y, x1, y), fill=faint)
        sheet.write(
            x0 - 4, y, f"{top * i / steps:.0f}" if top >= 8 else f"{top * i / steps:.1f}", small, "rm"
        )
    sheet.pen.line((x0, y0, x0, y1), fill=sheet.ink)
    sheet.pen.line((x0, y1, x1, y1), fill=sheet.ink)
    if rng.random() < 0.2:
        sheet.pen.rectangle((x0, y0, x1, y1), outline=sheet.ink)
    return plot


def _legend(sheet: Sheet, plot: _Plot, names: Sequence[str], paints: Sequence[Colour]) -> None:
    for i, (name, paint) in enumerate(zip(names, paints, strict=True)):
        y = plot.y0 + 6 + i * 14
        sheet.pen.rectangle((plot.x1 + 6, y, plot.x1 + 14, y + 8), fill=paint)
        sheet.write(plot.x1 + 17, y + 4, name[:9], plot.small, "lm")


def _headline(rng: Random, measure: str, by: str) -> str:
    text = rng.choice([f"{measure} by {by}", f"{measure} by {by}", measure, f"{measure} per {by}"])
    return _upper(text)


def _values(rng: Random, n: int, top: float) -> list[float]:
    """Bar heights with one clear winner and one clear loser."""
    values = [rng.uniform(0.25, 0.8) * top for _ in range(n)]
    high, low = rng.sample(range(n), 2)
    values[high], values[low] = rng.uniform(0.88, 0.98) * top, rng.uniform(0.08, 0.2) * top
    return values


def _scale(rng: Random) -> float:
    return rng.choice([1, 2, 5, 10, 20, 40, 60, 100, 150, 200, 400, 500, 800, 1000])

