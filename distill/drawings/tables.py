"""Tables of names and numbers."""

from unbraid.distill.drawings.sheet import Sheet, font, shade
from unbraid.distill.drawings.vocabulary import CATEGORIES, MEASURES, any_labels, capital, full_name, listing


def table(sheet: Sheet) -> list[str]:
    """Draw a table of names and numbers."""
    rng, (w, h) = sheet.rng, sheet.size
    by = rng.choice(list(CATEGORIES))
    labels, heads = any_labels(rng, by, 3, 9), rng.sample(list(MEASURES), rng.randint(1, 3))
    if rng.random() < 0.25:
        heads = ["price", *heads[1:]]
    y0 = sheet.title(capital(f"{heads[0]} by {by}"))
    n, m = len(labels) + 1, len(heads) + 1
    row = min(22, (h - y0 - 4) / n)
    size = max(8, min(11, int(row * 0.6)))
    column, x0, x1 = (w - 12) / m, 6, w - 6
    lines, stripe, (_, band) = rng.choice(["all", "rows", "none"]), rng.random() < 0.4, sheet.colours(1)[0]
    if rng.random() < 0.7:
        sheet.pen.rectangle((x0, y0, x1, y0 + row), fill=shade(band, -0.4 if sheet.is_dark else 0.55))
    faint = shade(sheet.ink, -0.5 if sheet.is_dark else 0.55)
    for i in range(n):
        y = y0 + i * row
        if stripe and i and i % 2 == 0:
            sheet.pen.rectangle(
                (x0, y, x1, y + row), fill=shade(sheet.paper, 0.1 if sheet.is_dark else -0.07)
            )
        if i == 0:
            cells, style, wide = [by, *heads], font(size, "bold"), 0.7
        else:
            numbers = [f"{rng.uniform(1, 999):.{rng.randint(0, 1)}f}" for _ in heads]
            cells, style, wide = [labels[i - 1], *numbers], font(size), 0.6
        for j, cell in enumerate(cells):
            text = cell[: int((column - 4) / size / wide)]
            sheet.write(x0 + j * column + 4, y + row / 2, text, style, "lm")
        if lines != "none" or i == 1:
            sheet.pen.line((x0, y, x1, y), fill=faint)
    bottom = y0 + n * row
    if lines != "none":
        sheet.pen.line((x0, bottom, x1, bottom), fill=faint)
    for j in range(m + 1) if lines == "all" else ():
        sheet.pen.line((x0 + j * column, y0, x0 + j * column, bottom), fill=faint)
    return [
        "a table",
        f"a table of {heads[0]} by {by}",
        f"a table with {len(labels)} rows and columns for {listing([by, *heads])}",
        f"a table of {listing(heads)} for {listing([full_name(k) for k in labels[:4]])}"
        + (" and others" if len(labels) > 4 else ""),
    ]
