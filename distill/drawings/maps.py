"""Maps of coloured regions."""

import math

from unbraid.distill.drawings.sheet import COLOURS, Sheet, font, jitter, shade
from unbraid.distill.drawings.vocabulary import CATEGORIES, any_measure, capital, listing

_BRIGHT = [colour for name, colour in COLOURS.items() if name not in {"black", "white", "grey"}]


def region_map(sheet: Sheet) -> list[str]:
    """Draw a map-like set of coloured regions, plain or shaded by a measure."""
    rng, (w, h) = sheet.rng, sheet.size
    island, shaded = rng.random() < 0.6, rng.random() < 0.5
    measure = any_measure(rng)[0]
    y0 = sheet.title(capital(measure)) if shaded else 0
    sea = jitter(rng, (170, 210, 235)) if rng.random() < 0.8 else shade(sheet.paper, -0.05)
    if not shaded:
        sheet.pen.rectangle((0, 0, w, h), fill=sea)
    nx, ny, k = rng.randint(7, 11), rng.randint(6, 9), rng.randint(4, 9)
    corner = {
        (i, j): (
            6 + (i + rng.uniform(-0.35, 0.35)) * (w - 12) / nx,
            y0 + 6 + (j + rng.uniform(-0.35, 0.35)) * (h - y0 - 12) / ny,
        )
        for i in range(nx + 1)
        for j in range(ny + 1)
    }
    seeds = [(rng.uniform(0.5, nx - 0.5), rng.uniform(0.5, ny - 0.5)) for _ in range(k)]
    base = rng.choice(["blue", "green", "red", "orange", "purple"])
    if shaded:
        paints = [shade(COLOURS[base], 0.85 - 1.1 * i / k) for i in range(k)]
    else:
        paints = [shade(jitter(rng, colour, 30), 0.25) for colour in rng.choices(_BRIGHT, k=k)]
    owner, edge = {}, shade(sheet.ink, 0.2) if rng.random() < 0.7 else (255, 255, 255)
    for i in range(nx):
        for j in range(ny):
            if island and math.hypot((i + 0.5) / nx - 0.5, (j + 0.5) / ny - 0.5) > rng.uniform(0.36, 0.52):
                continue
            who = owner[i, j] = min(range(k), key=lambda s: math.dist((i + 0.5, j + 0.5), seeds[s]))
            around = [corner[i, j], corner[i + 1, j], corner[i + 1, j + 1], corner[i, j + 1]]
            sheet.pen.polygon(around, fill=paints[who])
    for (i, j), who in owner.items():
        for neighbour, border in (
            ((i + 1, j), ((i + 1, j), (i + 1, j + 1))),
            ((i, j + 1), ((i, j + 1), (i + 1, j + 1))),
            ((i - 1, j), ((i, j), (i, j + 1))),
            ((i, j - 1), ((i, j), (i + 1, j))),
        ):
            if owner.get(neighbour) != who:
                sheet.pen.line([corner[p] for p in border], fill=edge, width=2)
    cities = rng.sample(CATEGORIES["city"], rng.randint(0, 4))
    for city, cell in zip(cities, rng.sample(sorted(owner), len(cities)), strict=True):
        x, y = corner[cell]
        sheet.dot(x, y, 2, (20, 20, 20))
        sheet.write(x + 4, y, city, font(9), "lm", (20, 20, 20))
    measure = measure if sheet.titled else "values"
    captions = [
        "a map",
        "a map of an island with coloured regions" if island else "a map with coloured regions and borders",
    ]
    if shaded:
        captions += [f"a choropleth map of {measure}", f"a map of {measure} by region in shades of {base}"]
    else:
        around_it = "surrounded by sea" if island and sea[2] > 210 else "in several colours"
        captions.append(f"a political map {around_it}")
    if cities:
        captions.append(f"a map showing the {'cities' if len(cities) > 1 else 'city'} {listing(cities)}")
    return captions
