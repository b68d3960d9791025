"""The plot area of a chart: title, axes, tick labels and legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from unbraid.distill.drawings.sheet import Colour, Font, Sheet, font, shade
from unbraid.distill.drawings.vocabulary import capital


@dataclass(frozen=True)
class Plot:
    """The inner rectangle of a chart and the font around it."""

    sheet: Sheet
    x0: float
    y0: float
    x1: float
    y1: float
    small: Font
    top: float

    def y(self, value: float) -> float:
        """Height of `value` on an axis from 0 to `top`."""
        return self.y1 - value / self.top * (self.y1 - self.y0)

    def label(self, x: float, text: str) -> None:
        """Write `text` under the horizontal axis, its middle at `x`."""
        self.sheet.write(x, self.y1 + 4, text, self.small, "ma")

    def label_bar(self, x: float, text: str, width: float) -> None:
        """Write what fits of `text` under a bar that has `width` pixels to itself."""
        self.label(x, text[: max(2, int(width / 6.5))])

    def legend(self, names: Sequence[str], named: Sequence[tuple[str, Colour]]) -> None:
        """Write names beside their colours, right of the plot."""
        for i, (name, (_, paint)) in enumerate(zip(names, named, strict=True)):
            y = self.y0 + 6 + i * 14
            self.sheet.pen.rectangle((self.x1 + 6, y, self.x1 + 14, y + 8), fill=paint)
            self.sheet.write(self.x1 + 17, y + 4, name[:9], self.small, "lm")


def axes(sheet: Sheet, title: str, top: float, unit: str = "", *, left: float = 0, legend: float = 0) -> Plot:
    """Draw title, axes, ticks and perhaps a grid for values from 0 to `top`.

    `left` pixels are kept for labels in place of the vertical axis' ticks, `legend` pixels for a legend.
    """
    rng, (w, h) = sheet.rng, sheet.size
    small = font(rng.randint(8, 10))
    y0, x0, x1, y1 = sheet.title(title), left or 30, w - 8 - legend, h - 20
    if unit and unit != "n" and not left:
        sheet.write(4, y0, unit, small, "la")
        y0 += 12
    plot = Plot(sheet, x0, y0, x1, y1, small, top)
    grid, faint = rng.random() < 0.5, shade(sheet.ink, -0.65 if sheet.is_dark else 0.82)
    steps = rng.randint(3, 6)
    for i in range(steps + 1 if not left else 0):
        value = top * i / steps
        y = plot.y(value)
        if grid and i:
            sheet.pen.line((x0, y, x1, y), fill=faint)
        sheet.write(x0 - 4, y, f"{value:.{0 if top >= 8 else 1}f}", small, "rm")
    sheet.pen.line((x0, y0, x0, y1), fill=sheet.ink)
    sheet.pen.line((x0, y1, x1, y1), fill=sheet.ink)
    if rng.random() < 0.2:
        sheet.pen.rectangle((x0, y0, x1, y1), outline=sheet.ink)
    return plot


def shown(sheet: Sheet, measure: str) -> str:
    """What captions say is measured: only a title shows it."""
    return measure if sheet.titled else "values"


def headline(rng: Random, measure: str, by: str) -> str:
    """A chart's title."""
    return capital(rng.choice([f"{measure} by {by}", f"{measure} by {by}", measure, f"{measure} per {by}"]))


def any_top(rng: Random) -> float:
    """The largest number on an axis."""
    return rng.choice([1, 2, 5, 10, 20, 40, 60, 100, 150, 200, 400, 500, 800, 1000])
