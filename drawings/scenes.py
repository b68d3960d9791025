"""scene."""
_SKIES = {
    "day": ((120, 185, 240), (210, 235, 250)),
    "sunset": ((240, 120, 80), (252, 205, 130)),
    "night": ((12, 16, 46), (40, 50, 100)),
}
_GROUNDS = {
    "field": ("a green field", (96, 165, 72)),
    "beach": ("a sandy beach", (233, 208, 150)),
    "snow": ("snow", (240, 244, 250)),
    "sea": ("the sea", (32, 96, 170)),
    "road": ("a road", (105, 105, 112)),
    "desert": ("a desert", (222, 176, 104)),
}
_LIFE = {
    "field": "house tree cat dog person flower mushroom car bicycle train flag chair ball ladder",
    "beach": "umbrella person ball chair dog boat bird house",
    "snow": "snowman tree house person dog flag",
    "sea": "boat boat boat bird",
    "road": "car bus bicycle person car train",
    "desert": "cactus cactus rocket person car",
}


def scene(sheet: Sheet) -> list[str]:
    """Draw a landscape by day, sunset or night with a few objects in it; its captions."""
    rng, (w, h) = sheet.rng, sheet.size
    time = rng.choice(["day", "day", "sunset", "night"])
    place = rng.choice(list(_GROUNDS))
    where, soil = _GROUNDS[place]
    top, low = (jitter(rng, c) for c in _SKIES[time])
    horizon = round(h * rng.uniform(0.5, 0.72))
    for band in range(0, horizon, 4):
        t = band / horizon
        r, g, b = (round(p + (q - p) * t) for p, q in zip(top, low, strict=True))
        sheet.pen.rectangle((0, band, w, band + 4), fill=(r, g, b))
    sheet.paper, sheet.ink = top, (30, 30, 34)
    look = rng.choice(["flat", "flat", "inked"])
    above: list[str] = []
    if time == "night":
        for _ in range(rng.randint(15, 40)):
            x, y, dot = rng.uniform(0, w), rng.uniform(0, horizon), rng.choice([0.7, 1, 1.6])
            sheet.pen.ellipse((x - dot, y - dot, x + dot, y + dot), fill=(250, 250, 220))
        above.append("stars")
    side = min(w, h) * rng.uniform(0.18, 0.3)
    if rng.random() < 0.8:
        name = "moon" if time == "night" else "sun"
        _put(sheet, name, (rng.uniform(0, w - side), rng.uniform(0, horizon * 0.3), side, side), tilt=0.4)
        above.insert(0, "the " + name)
    behind = ""
    if rng.random() < 0.35:
        behind = "mountains"
        rock = jitter(rng, rng.choice([(110, 115, 130), (90, 105, 150), (120, 100, 90)]))
        rock = shade(rock, -0.4) if time == "night" else rock
        for _ in range(rng.randint(2, 4)):
            wide, tall = w * rng.uniform(0.4, 0.7), horizon * rng.uniform(0.45, 0.75)
            box = (rng.uniform(-0.1 * w, w - wide * 0.8), horizon - tall + 2, wide, tall)
            stamp(sheet, OBJECTS["mountain"][1][0], box, rock, look=look)
    elif time != "night" and rng.random() < 0.5:
        for _ in range(rng.randint(1, 3)):
            wide = w * rng.uniform(0.15, 0.3)
            stamp(
                sheet,
                OBJECTS["cloud"][1][0],
                (rng.uniform(0, w - wide), rng.uniform(0, horizon * 0.4), wide, wide * 0.6),
                (252, 252, 252),
            )
        above.append("clouds")
    soil = jitter(rng, shade(soil, -0.5 if time == "night" else 0.0))
    sheet.pen.rectangle((0, horizon, w, h), fill=soil)
    if place == "sea":
        for _ in range(14):
            x, y = rng.uniform(0, w), rng.uniform(horizon + 6, h)
            sheet.pen.arc((x, y, x + 22, y + 8), 180, 360, fill=shade(soil, 0.5), width=2)
    elif place == "road":
        for dash in range(rng.randint(0, 20), w, 40):
            sheet.pen.rectangle(
                (dash, (horizon + h) // 2, dash + 20, (horizon + h) // 2 + 5), fill=(240, 240, 230)
            )
    sheet.paper = soil
    life = list(dict.fromkeys(rng.choice(_LIFE[place].split()) for _ in range(rng.choice([1, 2, 2, 3]))))
    placed = []
    for i, name in enumerate(life):
        side = (
            min(w / len(life), h * 0.62)
            * rng.uniform(0.65, 0.98)
            * (0.8 if name in {"ball", "flower", "mushroom", "bird"} else 1)
        )
        foot = horizon + (h - horizon) * rng.uniform(0.15, 0.8)
        x = i * w / len(life) + rng.uniform(0, max(0, w / len(life) - side))
        placed.append(_put(sheet, name, (x, foot - side, side, side), look, 0.03))
    things, coloured = (
        listing([article(p.name) for p in placed]),
        listing([article(p.phrase) for p in placed]),
    )
    on = f"{'in' if place in {'snow', 'desert', 'field'} else 'on'} {where}"
    when = {"day": "in daylight", "sunset": "at sunset", "night": "at night"}[time]
    captions = [f"{things} {on}", f"{coloured} {on} {when}"]
    if len(placed) > 1:
        captions.append(f"{article(placed[0].phrase)} to the left of {article(placed[1].phrase)} {on}")
    if above:
        captions.append(f"{things} under {listing(above)}" + (f" with {behind} behind" if behind else ""))
    captions.append(
        f"a {rng.choice(['cartoon ', 'simple ', ''])}scene of {where} {when}"
        + (f" with {behind}" if behind else "")
    )
    return captions
