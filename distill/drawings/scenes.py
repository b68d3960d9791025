"""Landscapes with objects in them."""

from unbraid.distill.drawings.objects import OBJECTS
from unbraid.distill.drawings.sheet import Colour, Sheet, jitter, shade
from unbraid.distill.drawings.stamp import Placed, put, stamp
from unbraid.distill.drawings.vocabulary import article, listing

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
    top, low = (jitter(rng, c) for c in _SKIES[time])
    horizon = round(h * rng.uniform(0.5, 0.72))
    for band in range(0, horizon, 4):
        t = band / horizon
        r, g, b = (round(p + (q - p) * t) for p, q in zip(top, low, strict=True))
        sheet.pen.rectangle((0, band, w, band + 4), fill=(r, g, b))
    sheet.paper, sheet.ink = top, (30, 30, 34)
    look = rng.choice(["flat", "flat", "inked"])
    above = _lights(sheet, horizon, time)
    mountains = rng.random() < 0.35
    if mountains:
        _mountains(sheet, horizon, time, look)
    elif time != "night" and rng.random() < 0.5:
        _clouds(sheet, horizon)
        above.append("clouds")
    where, soil = _GROUNDS[place]
    _ground(sheet, horizon, place, jitter(rng, shade(soil, -0.5 if time == "night" else 0.0)))
    placed = _life(sheet, horizon, place, look)
    things = listing([article(p.name) for p in placed])
    phrases = [article(p.phrase) for p in placed]
    on = f"{'in' if place in {'snow', 'desert', 'field'} else 'on'} {where}"
    when = {"day": "in daylight", "sunset": "at sunset", "night": "at night"}[time]
    captions = [f"{things} {on}", f"{listing(phrases)} {on} {when}"]
    if len(phrases) > 1:
        captions.append(f"{phrases[0]} to the left of {phrases[1]} {on}")
    if above:
        captions.append(f"{things} under {listing(above)}" + (" with mountains behind" if mountains else ""))
    style = rng.choice(["cartoon ", "simple ", ""])
    return [*captions, f"a {style}scene of {where} {when}" + (" with mountains" if mountains else "")]


def _lights(sheet: Sheet, horizon: int, time: str) -> list[str]:
    """Draw stars, and perhaps sun or moon; what there is, sun or moon first."""
    rng, (w, h) = sheet.rng, sheet.size
    for _ in range(rng.randint(15, 40) if time == "night" else 0):
        x, y, r = rng.uniform(0, w), rng.uniform(0, horizon), rng.choice([0.7, 1, 1.6])
        sheet.dot(x, y, r, (250, 250, 220))
    stars = ["stars"] if time == "night" else []
    side = min(w, h) * rng.uniform(0.18, 0.3)
    if rng.random() >= 0.8:
        return stars
    name = "moon" if time == "night" else "sun"
    put(sheet, name, (rng.uniform(0, w - side), rng.uniform(0, horizon * 0.3), side, side), tilt=0.4)
    return [f"the {name}", *stars]


def _mountains(sheet: Sheet, horizon: int, time: str, look: str) -> None:
    rng, w = sheet.rng, sheet.size[0]
    rock = jitter(rng, rng.choice([(110, 115, 130), (90, 105, 150), (120, 100, 90)]))
    rock = shade(rock, -0.4) if time == "night" else rock
    for _ in range(rng.randint(2, 4)):
        wide, tall = w * rng.uniform(0.4, 0.7), horizon * rng.uniform(0.45, 0.75)
        box = (rng.uniform(-0.1 * w, w - wide * 0.8), horizon - tall + 2, wide, tall)
        stamp(sheet, OBJECTS["mountain"][1][0], box, rock, look=look)


def _clouds(sheet: Sheet, horizon: int) -> None:
    rng, w = sheet.rng, sheet.size[0]
    for _ in range(rng.randint(1, 3)):
        wide = w * rng.uniform(0.15, 0.3)
        box = (rng.uniform(0, w - wide), rng.uniform(0, horizon * 0.4), wide, wide * 0.6)
        stamp(sheet, OBJECTS["cloud"][1][0], box, (252, 252, 252))


def _ground(sheet: Sheet, horizon: int, place: str, soil: Colour) -> None:
    """Paint the ground, with waves on the sea and a line on the road."""
    rng, (w, h) = sheet.rng, sheet.size
    sheet.paper = soil
    sheet.pen.rectangle((0, horizon, w, h), fill=soil)
    if place == "sea":
        for _ in range(14):
            x, y = rng.uniform(0, w), rng.uniform(horizon + 6, h)
            sheet.pen.arc((x, y, x + 22, y + 8), 180, 360, fill=shade(soil, 0.5), width=2)
    elif place == "road":
        y = (horizon + h) // 2
        for x in range(rng.randint(0, 20), w, 40):
            sheet.pen.rectangle((x, y, x + 20, y + 5), fill=(240, 240, 230))


def _life(sheet: Sheet, horizon: int, place: str, look: str) -> list[Placed]:
    """Draw one to three objects that belong to the place, from left to right."""
    rng, (w, h) = sheet.rng, sheet.size
    names = list(dict.fromkeys(rng.choice(_LIFE[place].split()) for _ in range(rng.choice([1, 2, 2, 3]))))
    room = w / len(names)
    placed = []
    for i, name in enumerate(names):
        small = 0.8 if name in {"ball", "flower", "mushroom", "bird"} else 1
        side = min(room, h * 0.62) * rng.uniform(0.65, 0.98) * small
        foot = horizon + (h - horizon) * rng.uniform(0.15, 0.8)
        x = i * w / len(names) + rng.uniform(0, max(0, room - side))
        placed.append(put(sheet, name, (x, foot - side, side, side), look, 0.03))
    return placed
