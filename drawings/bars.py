"""Bars: bar charts and histograms."""
def bar_chart(sheet: Sheet) -> list[str]:
    """Draw vertical, horizontal or grouped bars."""
    rng = sheet.rng
    (measure, unit), by, top = _measure(rng), rng.choice(list(CATEGORIES)), _scale(rng)
    word = rng.choice(["bar chart", "bar chart", "bar graph"])
    title = _headline(rng, measure, by)
    form = rng.choice(["vertical", "vertical", "horizontal", "grouped"])
    labels = _labels(rng, by, 3, 5 if form == "grouped" else 8)
    of = f"{measure} by {by}"
    if form == "grouped":
        return _grouped_bars(sheet, title, labels, top, unit, of, word)
    values = _values(rng, len(labels), top)
    named = (
        sheet.colours(len(labels))[: len(labels)]
        if len(labels) < 8 and rng.random() < 0.3
        else sheet.colours(1)
    )
    paints = [paint for _, paint in named]
    gap, n = rng.uniform(0.1, 0.45), len(labels)
    numbers, outline = rng.random() < 0.3, sheet.ink if rng.random() < 0.2 else None
    plot = _axes(sheet, title, top, unit, left=58 if form == "horizontal" else 0)
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        paint = paints[i % len(paints)]
        if form == "horizontal":
            step = (plot.y1 - plot.y0) / n
            y, x = plot.y0 + (i + gap / 2) * step, plot.x0 + value / top * (plot.x1 - plot.x0)
            sheet.pen.rectangle((plot.x0 + 1, y, x, y + step * (1 - gap)), fill=paint, outline=outline)
            sheet.write(plot.x0 - 4, y + step * (1 - gap) / 2, label[:9], plot.small, "rm")
        else:
            step = (plot.x1 - plot.x0) / n
            x, y = plot.x0 + (i + gap / 2) * step, plot.y(value)
            sheet.pen.rectangle((x, y, x + step * (1 - gap), plot.y1 - 1), fill=paint, outline=outline)
            sheet.write(
                x + step * (1 - gap) / 2, plot.y1 + 4, label[: max(2, int(step / 6.5))], plot.small, "ma"
            )
            if numbers:
                sheet.write(x + step * (1 - gap) / 2, y - 2, f"{value:.0f}", font(8), "mb")
    order = sorted(range(n), key=values.__getitem__)
    low, high = _name(labels[order[0]]), _name(labels[order[-1]])
    colour = "multicoloured" if len(named) > 1 else named[0][0]
    return [
        article(word),
        f"{article(word)} of {of}",
        f"a {form} {word} of {measure} with {n} {colour} bars",
        f"{article(word)} of {of} in which {high} is the highest"
        + rng.choice(["", f" and {low} the lowest"]),
        f"{article(word)} comparing {measure} for {listing([_name(k) for k in labels[:4]])}"
        + (" and others" if n > 4 else ""),
    ]


def _grouped_bars(
    sheet: Sheet, title: str, labels: list[str], top: float, unit: str, of: str, word: str
) -> list[str]:
    rng = sheet.rng
    sets = rng.choice(
        [
            ["2023", "2024"],
            ["men", "women"],
            ["before", "after"],
            ["2022", "2023", "2024"],
            ["plan", "actual"],
        ]
    )
    named, stacked = sheet.colours(len(sets)), rng.random() < 0.35
    plot = _axes(sheet, title, top, unit, legend=52)
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
        sheet.write(
            plot.x0 + (i + 0.5) * step, plot.y1 + 4, label[: max(2, int(step / 6.5))], plot.small, "ma"
        )
    _legend(sheet, plot, sets, [paint for _, paint in named])
    kind = "stacked" if stacked else "grouped"
    return [
        article(word),
        f"a {kind} {word} of {of}",
        f"a {kind} {word} of {of} for {listing(sets)}",
        f"a {kind} {word} with {listing([k for k, _ in named])} bars and a legend",
    ]


def histogram(sheet: Sheet) -> list[str]:
    """Draw the distribution of one measure."""
    rng = sheet.rng
    measure = _measure(rng)[0]
    forms: dict[str, Callable[[float], float]] = {
        "bell-shaped": lambda t: math.exp(-(((t - 0.5) / 0.2) ** 2)),
        "skewed to the right with a long tail": lambda t: t**0.8 * math.exp(-7 * t) * 14,
        "with two peaks": lambda t: (
            math.exp(-(((t - 0.25) / 0.1) ** 2)) + 0.8 * math.exp(-(((t - 0.75) / 0.1) ** 2))
        ),
        "nearly uniform": lambda t: 0.75,
        "falling from left to right": lambda t: math.exp(-3.5 * t),
    }
    form = rng.choice(list(forms))
    bins, (colour, paint) = rng.randint(10, 26), sheet.colours(1)[0]
    heights = [max(0.01, forms[form]((i + 0.5) / bins) * rng.uniform(0.88, 1.1)) for i in range(bins)]
    scale = 0.95 / max(1.0, *heights)
    plot = _axes(
        sheet,
        rng.choice([f"Distribution of {measure}", _upper(measure)]),
        rng.choice([20, 50, 100, 200, 500]),
    )
    step, edge = (plot.x1 - plot.x0) / bins, shade(paint, -0.4) if rng.random() < 0.6 else sheet.paper
    for i, height in enumerate(heights):
        x, y = plot.x0 + i * step, min(plot.y1 - 1, plot.y(height * scale * plot.top))
        sheet.pen.rectangle((x, y, x + step, plot.y1 - 1), fill=paint, outline=edge)
    sheet.write((plot.x0 + plot.x1) / 2, plot.y1 + 4, measure, plot.small, "ma")
    return [
        "a histogram",
        f"a histogram of {measure}",
        f"a histogram of {measure}, {form}",
        f"a {colour} histogram showing a distribution that is {form}"
        if not form.startswith("with")
        else f"a {colour} histogram of a distribution {form}",
    ]


