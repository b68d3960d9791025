"""Charts of lines, points and shares."""

import math
from collections.abc import Callable

from unbraid.distill.drawings.plot import any_top, axes, headline, shown
from unbraid.distill.drawings.sheet import Sheet, font, shade
from unbraid.distill.drawings.vocabulary import (
    CATEGORIES,
    MEASURES,
    any_labels,
    any_measure,
    article,
    capital,
    full_name,
    listing,
)

_TRENDS: dict[str, Callable[[float], float]] = {
    "rising": lambda t: 0.15 + 0.7 * t,
    "falling": lambda t: 0.85 - 0.7 * t,
    "rising faster and faster": lambda t: 0.1 + 0.8 * t**3,
    "with a peak in the middle": lambda t: 0.15 + 0.7 * math.exp(-(((t - 0.5) / 0.16) ** 2)),
    "with a dip in the middle": lambda t: 0.85 - 0.65 * math.exp(-(((t - 0.5) / 0.18) ** 2)),
    "going up and down in waves": lambda t: 0.5 + 0.33 * math.sin(t * 6 * math.pi),
    "staying flat": lambda t: 0.5,
    "rising and then falling": lambda t: 0.15 + 0.7 * math.sin(t * math.pi),
    "falling and then rising": lambda t: 0.85 - 0.7 * math.sin(t * math.pi),
    "levelling off": lambda t: 0.1 + 0.75 * (1 - math.exp(-4 * t)),
    "dropping suddenly": lambda t: 0.8 if t < 0.55 else 0.2,
}


def line_chart(sheet: Sheet) -> list[str]:
    """Draw one to three series over time, each with a trend."""
    rng = sheet.rng
    (measure, unit), top = any_measure(rng), any_top(rng)
    over = rng.choice(["month", "year", "weekday", "hour", "week"])
    if over == "year":  # one year and six that are thrown away, so that a seed keeps its picture
        years = [rng.randint(1960, 2018) for _ in range(7)]
        ticks = [str(years[0] + i * 2) for i in range(7)]
    else:
        numbers = {"hour": range(0, 25, 4), "week": range(1, 11)}
        ticks = [str(i) for i in numbers[over]] if over in numbers else CATEGORIES[over]
    word, n = rng.choice(["line chart", "line chart", "line graph"]), rng.choice([1, 1, 1, 2, 3])
    area = n == 1 and rng.random() < 0.2
    if area:
        word = "area chart"
    names = (
        any_labels(rng, rng.choice(["city", "country", "product", "team", "animal"]), n, n) if n > 1 else []
    )
    trends, named = rng.sample(list(_TRENDS), n), sheet.colours(n)
    plot = axes(sheet, headline(rng, measure, over), top, unit, legend=52 if n > 1 else 0)
    start, length = plot.x0 + 3, plot.x1 - plot.x0 - 6
    count = rng.choice([len(ticks), 30, 50])
    noise, width, marks = rng.choice([0, 0.01, 0.03]), rng.randint(1, 4), rng.random() < 0.35 and count < 20
    for (_, paint), trend in zip(named, trends, strict=True):
        f = _TRENDS[trend]
        points = []
        for i in range(count):
            t = i / (count - 1)
            value = min(0.98, max(0.02, f(t) + rng.gauss(0, noise)))
            points.append((start + t * length, plot.y(top * value)))
        if area:
            sheet.pen.polygon(
                [(points[0][0], plot.y1), *points, (points[-1][0], plot.y1)], fill=shade(paint, 0.35)
            )
        sheet.pen.line(points, fill=paint, width=width, joint="curve")
        for x, y in points if marks else ():
            sheet.dot(x, y, 3, paint)
    every = max(1, math.ceil(len(ticks) * 24 / (plot.x1 - plot.x0)))
    for i in range(0, len(ticks), every):
        plot.label(start + i / (len(ticks) - 1) * length, ticks[i])
    word, measure = article(word), shown(sheet, measure)
    captions = [word, f"{word} of {measure}", f"{word} of {measure} by {over}"]
    if n == 1:
        captions += [
            f"{word} of {measure} {trends[0]}",
            f"{word} with {article(named[0][0])} line showing {measure} {trends[0]} over the {over}s",
        ]
    else:
        plot.legend(names, named)
        lines = [f"{colour} {trend}" for (colour, _), trend in zip(named, trends, strict=True)]
        captions += [
            f"{word} of {measure} for {listing(names)}",
            f"{word} of {measure} for {listing(names)}, {listing(lines)}",
        ]
    return captions


def scatter_plot(sheet: Sheet) -> list[str]:
    """Draw points with a correlation or in clusters."""
    rng = sheet.rng
    a, b = rng.sample(list(MEASURES), 2)
    word = article(rng.choice(["scatter plot", "scatter plot", "scatter chart"]))
    form = rng.choice(["positive", "negative", "no", "clusters"])
    plot = axes(sheet, capital(f"{a} and {b}"), any_top(rng))
    plot.label((plot.x0 + plot.x1) / 2, a)
    k = rng.randint(2, 4) if form == "clusters" else 1
    named, r, hollow = sheet.colours(k), rng.choice([1.5, 2, 3, 4]), rng.random() < 0.2
    corners = rng.sample([(0.2, 0.25), (0.78, 0.25), (0.22, 0.78), (0.78, 0.8), (0.5, 0.5)], k)
    for i in range(rng.randint(40, 110)):
        if form == "clusters":
            x, y = (rng.gauss(m, 0.07) for m in corners[i % k])
        else:
            x = rng.random()
            middle = 0.1 + 0.8 * (x if form == "positive" else 1 - x)
            y = rng.random() if form == "no" else rng.gauss(middle, 0.07)
        x, y = (min(0.98, max(0.02, v)) for v in (x, y))
        px, py = plot.x0 + x * (plot.x1 - plot.x0), plot.y1 - y * (plot.y1 - plot.y0)
        paint = named[i % k][1]
        sheet.dot(px, py, r, None if hollow else paint, paint)
    count, b = ("", "", "two", "three", "four")[k], shown(sheet, b)
    seen = {
        "positive": f"a positive correlation: {b} rises with {a}",
        "negative": f"a negative correlation: {b} falls as {a} rises",
        "no": f"no correlation between {a} and {b}",
        "clusters": f"{count} clusters of points",
    }[form]
    colours = listing([name for name, _ in named])
    return [
        word,
        f"{word} of {a} and {b}",
        f"{word} showing {seen}",
        f"{word} of {a} and {b} with {colours} points, {seen.split(':')[0].split(' between')[0]}",
    ]


def pie_chart(sheet: Sheet) -> list[str]:
    """Draw a pie or a donut with one largest share."""
    rng, (w, h) = sheet.rng, sheet.size
    by, donut = rng.choice(list(CATEGORIES)), rng.random() < 0.35
    measure = any_measure(rng)[0]
    labels = any_labels(rng, by, 3, 6)
    pies, rings = ["pie chart", "pie chart", "pie graph"], ["donut chart", "ring chart"]
    word = article(rng.choice(rings if donut else pies))
    y0 = sheet.title(rng.choice([f"Share of {measure} by {by}", capital(f"{measure} by {by}")]))
    named = sheet.colours(len(labels))
    parts = [rng.uniform(0.4, 1) for _ in labels]
    big = rng.randrange(len(labels))
    parts[big] = rng.choice([1.6, 2.5, sum(parts) * 1.3])
    total, start = sum(parts), rng.uniform(0, 360)
    legend = rng.random() < 0.5 and w > 170
    r = min((w - (74 if legend else 8)) / 2, (h - y0 - 6) / 2) * rng.uniform(0.85, 1)
    cx, cy = (w - (70 if legend else 0)) / 2, (y0 + h) / 2
    edge, small = (sheet.paper if rng.random() < 0.6 else None), font(9)
    for i, (label, part, (_, paint)) in enumerate(zip(labels, parts, named, strict=True)):
        end = start + 360 * part / total
        sheet.pen.pieslice(
            (cx - r, cy - r, cx + r, cy + r), start, end, fill=paint, outline=edge, width=2 if edge else 1
        )
        middle = math.radians((start + end) / 2)
        if legend:
            y = y0 + 8 + i * 15
            sheet.pen.rectangle((w - 66, y, w - 57, y + 9), fill=paint)
            sheet.write(w - 53, y + 4, label[:9], small, "lm")
        else:
            ink = (255, 255, 255) if sum(paint) < 380 else (20, 20, 20)
            far = r * (0.78 if donut else 0.65)
            x, y = cx + far * math.cos(middle), cy + far * math.sin(middle)
            sheet.write(x, y, label[:8], small, "mm", ink)
        start = end
    if donut:
        sheet.dot(cx, cy, r * rng.uniform(0.45, 0.6), sheet.paper)
    most = " with more than half of the total" if parts[big] > total / 2 else ""
    measure = shown(sheet, measure)
    return [
        word,
        f"{word} of {measure} by {by}",
        f"{word} with a large {named[big][0]} slice",
        f"{word} with {len(labels)} slices: {listing([full_name(k) for k in labels])}",
        f"{word} of {measure} by {by} in which {full_name(labels[big])} has the largest share{most}",
    ]
