"""Maps of coloured regions."""
def region_map(sheet: Sheet) -> list[str]:
    """Draw a map-like set of coloured regions, plain or shaded by a measure."""
    rng, (w, h) = sheet.rng, sheet.size
    island, shaded = rng.random() < 0.6, rng.random() < 0.5
    measure = _measure(rng)[0]
    y0 = _title(sheet, _upper(measure)) if shaded else 0
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
    base, tone = rng.choice([("blue", 1), ("green", 1), ("red", 1), ("orange", 1), ("purple", 1)])
    paints = (
        [shade(COLOURS[base], 0.85 - 1.1 * i / k * tone) for i in range(k)]
        if shaded
        else [
            shade(jitter(rng, c, 30), 0.25)
            for c in rng.choices([v for n, v in COLOURS.items() if n not in {"black", "white", "grey"}], k=k)
        ]
    )
    owner, edge = {}, shade(sheet.ink, 0.2) if rng.random() < 0.7 else (255, 255, 255)
    for i in range(nx):
        for j in range(ny):
            if island and math.hypot((i + 0.5) / nx - 0.5, (j + 0.5) / ny - 0.5) > rng.uniform(0.36, 0.52):
                continue
            owner[i, j] = min(range(k), key=lambda s: math.dist((i + 0.5, j + 0.5), seeds[s]))
            sheet.pen.polygon(
                [corner[i, j], corner[i + 1, j], corner[i + 1, j + 1], corner[i, j + 1]],
                fill=paints[owner[i, j]],
            )
    for (i, j), who in owner.items():
        for at, line in (
            ((i + 1, j), ((i + 1, j), (i + 1, j + 1))),
            ((i, j + 1), ((i, j + 1), (i + 1, j + 1))),
            ((i - 1, j), ((i, j), (i, j + 1))),
            ((i, j - 1), ((i, j), (i + 1, j))),
        ):
            if owner.get(at) != who:
                sheet.pen.line([corner[p] for p in line], fill=edge, width=2)
    cities = rng.sample(CATEGORIES["city"].split(), rng.randint(0, 4))
    for city, cell in zip(cities, rng.sample(sorted(owner), len(cities)), strict=True):
        x, y = corner[cell]
        sheet.pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(20, 20, 20))
        sheet.write(x + 4, y, city, font(9), "lm", (20, 20, 20))
    captions = [
        "a map",
        "a map of an island with coloured regions" if island else "a map with coloured regions and borders",
    ]
    if shaded:
        captions += [f"a choropleth map of {measure}", f"a map of {measure} by region in shades of {base}"]
    else:
        captions.append(
            "a political map" + (" surrounded by sea" if island and sea[2] > 210 else " in several colours")
        )
    return (
        [*captions, f"a map showing the {'cities' if len(cities) > 1 else 'city'} {listing(cities)}"]
        if cities
        else captions
    )


