"""Objects and shapes on a plain background, alone or side by side."""

import math
from random import Random

from unbraid.distill.drawings.objects import OBJECTS, SHAPES
from unbraid.distill.drawings.sheet import COLOURS, Sheet, shade
from unbraid.distill.drawings.stamp import put, stamp
from unbraid.distill.drawings.vocabulary import COUNTS, article, listing, plural


def one_object(sheet: Sheet) -> list[str]:
    """Draw one object; its captions."""
    rng, (w, h) = sheet.rng, sheet.size
    ground, (look, word) = _background(sheet), _look(rng)
    name = rng.choice(list(OBJECTS))
    side = min(w, h) * rng.uniform(0.45, 0.92)
    wide = side * rng.uniform(0.88, 1.15)
    it = put(sheet, name, (rng.uniform(0, w - wide), rng.uniform(0, h - side), wide, side), look, 0.25)
    what = article(it.phrase)
    return [article(name), what, f"{word} of {what}", f"{what} on {ground}"]


def some_objects(sheet: Sheet) -> list[str]:
    """Draw two or three objects, or several of one, and say how they lie; their captions."""
    rng, (w, h) = sheet.rng, sheet.size
    ground, (look, word) = _background(sheet), _look(rng)
    if rng.random() < 0.25:
        return _several(sheet, look, word)
    n = rng.choice([2, 2, 2, 3])
    names = rng.sample([k for k in OBJECTS if k != "cloud"], n)
    upright = n == 2 and (rng.random() < 0.35 or h > 1.25 * w)
    cell_w, cell_h = (w, h / n) if upright else (w / n, h)
    side = min(cell_w, cell_h) * rng.uniform(0.75, 0.95)
    level = rng.random()
    phrases = []
    for i, name in enumerate(names):
        if upright:
            across, down = rng.uniform(0.3, 0.7), rng.random()
        else:
            across, down = rng.random(), min(1, level + rng.uniform(0, 0.15))
        x, y = across * (cell_w - side), down * (cell_h - side)
        x, y = (x, y + i * cell_h) if upright else (x + i * cell_w, y)
        phrases.append(article(put(sheet, name, (x, y, side, side), look).phrase))
    a, b, *more = phrases
    if more:
        relations = [f"{a}, {b} and {more[0]} side by side", f"{b} between {a} and {more[0]}"]
    elif upright:
        relations = [f"{a} above {b}", f"{b} below {a}", f"{b} under {a}"]
    else:
        relations = [
            f"{a} to the left of {b}",
            f"{b} to the right of {a}",
            f"{a} beside {b}",
            f"{b} next to {a}",
        ]
    what = listing(phrases)
    return [
        listing([article(name) for name in names]),
        rng.choice(relations),
        f"{word} of {what}",
        f"{what} on {ground}",
    ]


def _several(sheet: Sheet, look: str, word: str) -> list[str]:
    rng, (w, h) = sheet.rng, sheet.size
    n = rng.randint(2, 6)
    columns = n if n < 4 and w > 0.9 * h else (n + 1) // 2
    rows = math.ceil(n / columns)
    name = rng.choice([k for k in OBJECTS if k not in {"cloud", "mountain"}])
    side = min(w / columns, h / rows) * rng.uniform(0.7, 0.95)
    for i in range(n):
        x, y = (i % columns + 0.5) * w / columns - side / 2, (i // columns + 0.5) * h / rows - side / 2
        put(sheet, name, (x, y, side, side), look)
    many = f"{COUNTS[n - 2]} {plural(name)}"
    return [plural(name), many, f"{word} of {many}", f"a group of {plural(name)}"]


def shapes(sheet: Sheet) -> list[str]:
    """Draw one to six geometric shapes; their captions."""
    rng, (w, h) = sheet.rng, sheet.size
    ground = _background(sheet)
    look = rng.choice(["flat", "flat", "inked", "line"])
    same = rng.random() < 0.35
    n = rng.randint(2, 6) if same else rng.randint(1, 3)
    names, paints = rng.sample(list(SHAPES), 1 if same else n), sheet.colours(1 if same else n)
    columns = n if n < 4 else (n + 1) // 2
    rows = math.ceil(n / columns)
    side = min(w / columns, h / rows) * rng.uniform(0.5, 0.9)
    for i in range(n):
        x, y = i % columns * w / columns, i // columns * h / rows
        x, y = x + rng.uniform(0, w / columns - side), y + rng.uniform(0, h / rows - side)
        outline, paint = SHAPES[names[i % len(names)]], paints[i % len(paints)][1]
        stamp(sheet, outline, (x, y, side, side), paint, turn=rng.uniform(-0.2, 0.2), look=look)
    hollow = "outlined " if look == "line" else ""
    if same:
        what = f"{COUNTS[n - 2]} {hollow}{paints[0][0]} {plural(names[0])}"
        return [f"geometric shapes: {plural(names[0])}", what, f"{what} on {ground}"]
    each = [article(f"{hollow}{colour} {name}") for (colour, _), name in zip(paints, names, strict=True)]
    captions = [
        f"{'geometric shapes' if n > 1 else 'a geometric shape'}: {listing([article(k) for k in names])}",
        listing(each),
        f"{listing(each)} on {ground}",
    ]
    if n == 2:
        captions.append(f"{each[0]} to the left of {each[1]}")
    return captions


def _background(sheet: Sheet) -> str:
    """Choose a plain background; what it is called."""
    name = sheet.rng.choice("white white white cream black blue green yellow pink grey".split())
    plain = {"white": (255, 255, 255), "cream": (250, 243, 224), "black": (24, 26, 34)}
    sheet.fill(plain.get(name) or shade(COLOURS[name], 0.7))
    return f"{article(name if name in plain else f'light {name}')} background"


def _look(rng: Random) -> tuple[str, str]:
    """How objects are drawn, and what such a picture is called."""
    look = rng.choice(["flat", "flat", "inked", "inked", "line"])
    words = {
        "flat": ["drawing", "picture", "illustration"],
        "inked": ["cartoon", "drawing"],
        "line": ["line drawing", "sketch"],
    }
    return look, article(rng.choice(words[look]))
