"""Bars: bar charts and histograms."""

import math
from collections.abc import Callable
from random import Random

from unbraid.distill.drawings.plot import any_top, axes, headline, shown
from unbraid.distill.drawings.sheet import Sheet, font, shade
from unbraid.distill.drawings.vocabulary import (
    CATEGORIES,
    any_labels,
    any_measure,
    article,
    capital,
    full_name,
    listing,
)


def bar_chart(sheet: Sheet) -> list[str]:
    """Draw vertical, horizontal or grouped bars."""
    rng = sheet.rng
    (measure, unit), by, top = any_measure(rng), rng.choice(list(CATEGORIES)), any_top(rng)
    word = rng.choice(["bar chart", "bar chart", "bar graph"])
    title = headline(rng, measure, by)
    form = rng.choice(["vertical", "vertical", "horizontal", "grouped"])
    labels = any_labels(rng, by, 3, 5 if form == "grouped" else 8)
    if form == "grouped":
        return _grouped_bars(sheet, title, labels, top, unit, (measure, by), word)
    n = len(labels)
    values = _values(rng, n, top)
    named = sheet.colours(n if n < 8 and rng.random() < 0.3 else 1)
    gap = rng.uniform(0.1, 0.45)
    numbers, outline = rng.random() < 0.3, sheet.ink if rng.random() < 0.2 else None
    plot = axes(sheet, title, top, unit, left=58 if form == "horizontal" else 0)
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        paint = named[i % len(named)][1]
        if form == "horizontal":
            step = (plot.y1 - plot.y0) / n
            y, x = plot.y0 + (i + gap / 2) * step, plot.x0 + value / top * (plot.x1 - plot.x0)
            sheet.pen.rectangle((plot.x0 + 1, y, x, y + step * (1 - gap)), fill=paint, outline=outline)
            sheet.write(plot.x0 - 4, y + step * (1 - gap) / 2, label[:9], plot.small, "rm")
        else:
            step = (plot.x1 - plot.x0) / n
            x, y = plot.x0 + (i + gap / 2) * step, plot.y(value)
            middle = x + step * (1 - gap) / 2
            sheet.pen.rectangle((x, y, x + step * (1 - gap), plot.y1 - 1), fill=paint, outline=outline)
            plot.label_bar(middle, label, step)
            if numbers:
                sheet.write(middle, y - 2, f"{value:.0f}", font(8), "mb")
    order = sorted(range(n), key=values.__getitem__)
    low, high = full_name(labels[order[0]]), full_name(labels[order[-1]])
    colour = "multicoloured" if len(named) > 1 else named[0][0]
    measure = shown(sheet, measure)
    of = f"{measure} by {by}"
    return [
        article(word),
        f"{article(word)} of {of}",
        f"a {form} {word} of {of} with {n} {colour} bars",
        f"{article(word)} of {of} in which {high} is the highest"
        + rng.choice(["", f" and {low} the lowest"]),
        f"{article(word)} comparing {measure} for {listing([full_name(k) for k in labels[:4]])}"
        + (" and others" if n > 4 else ""),
    ]


def _values(rng: Random, n: int, top: float) -> list[float]:
    """Bar heights with one clear winner and one clear loser."""
    values = [rng.uniform(0.25, 0.8) * top for _ in range(n)]
    high, low = rng.sample(range(n), 2)
    values[high], values[low] = rng.uniform(0.88, 0.98) * top, rng.uniform(0.08, 0.2) * top
    return values


def _grouped_bars(
    sheet: Sheet, title: str, labels: list[str], top: float, unit: str, of_what: tuple[str, str], word: str
) -> list[str]:
    rng = sheet.rng
    sets = rng.choice(["2023 2024", "men women", "before after", "2022 2023 2024", "plan actual"]).split()
    named, stacked = sheet.colours(len(sets)), rng.random() < 0.35
    plot = axes(sheet, title, top, unit, legend=52)
    step, m = (plot.x1 - plot.x0) / len(labels), len(sets)
    for i, label in enumerate(labels):
        base = plot.y1 - 1
        for j, (_, paint) in enumerate(named):
            value = rng.uniform(0.15, 0.95) * top / (m if stacked else 1)
            if stacked:
                y = base - (plot.y1 - plot.y(value))
                sheet.pen.rectangle(
                    (plot.x0 + (i + 0.2) * step, y, plot.x0 + (i + 0.8) * step, base), fill=paint
                )
                base = y
            else:
                x = plot.x0 + (i + 0.12 + 0.76 * j / m) * step
                sheet.pen.rectangle((x, plot.y(value), x + 0.76 * step / m - 1, base), fill=paint)
        plot.label_bar(plot.x0 + (i + 0.5) * step, label, step)
    plot.legend(sets, named)
    kind = "stacked" if stacked else "grouped"
    of = f"{shown(sheet, of_what[0])} by {of_what[1]}"
    return [
        article(word),
        f"a {kind} {word} of {of}",
        f"a {kind} {word} with {listing([k for k, _ in named])} bars and a legend",
        f"a {kind} {word} of {of} for {listing(sets)} in {listing([k for k, _ in named])}",
    ]


_DISTRIBUTIONS: dict[str, Callable[[float], float]] = {
    "bell-shaped": lambda t: math.exp(-(((t - 0.5) / 0.2) ** 2)),
    "skewed to the right with a long tail": lambda t: t**0.8 * math.exp(-7 * t) * 14,
    "with two peaks": lambda t: (
        math.exp(-(((t - 0.25) / 0.1) ** 2)) + 0.8 * math.exp(-(((t - 0.75) / 0.1) ** 2))
    ),
    "nearly uniform": lambda t: 0.75,
    "falling from left to right": lambda t: math.exp(-3.5 * t),
}


def histogram(sheet: Sheet) -> list[str]:
    """Draw the distribution of one measure."""
    rng = sheet.rng
    measure = any_measure(rng)[0]
    form = rng.choice(list(_DISTRIBUTIONS))
    height = _DISTRIBUTIONS[form]
    bins, (colour, paint) = rng.randint(10, 26), sheet.colours(1)[0]
    heights = [max(0.01, height((i + 0.5) / bins) * rng.uniform(0.88, 1.1)) for i in range(bins)]
    scale = 0.95 / max(1.0, *heights)
    title = rng.choice([f"Distribution of {measure}", capital(measure)])
    plot = axes(sheet, title, rng.choice([20, 50, 100, 200, 500]))
    step, edge = (plot.x1 - plot.x0) / bins, shade(paint, -0.4) if rng.random() < 0.6 else sheet.paper
    for i, share in enumerate(heights):
        x, y = plot.x0 + i * step, min(plot.y1 - 1, plot.y(share * scale * plot.top))
        sheet.pen.rectangle((x, y, x + step, plot.y1 - 1), fill=paint, outline=edge)
    plot.label((plot.x0 + plot.x1) / 2, measure)
    return [
        "a histogram",
        f"a histogram of {measure}",
        f"a histogram of {measure}, {form}",
        f"a {colour} histogram of {measure}, a distribution {form}"
        if form.startswith("with")
        else f"a {colour} histogram of {measure} showing a distribution that is {form}",
    ]
