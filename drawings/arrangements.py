"""arr."""
def one_object(sheet: Sheet) -> list[str]:
    """Draw one object on a plain background; its captions."""
    rng, (w, h) = sheet.rng, sheet.size
    ground, (look, word) = _backdrop(sheet), _look(rng)
    name = rng.choice(list(OBJECTS))
    side = min(w, h) * rng.uniform(0.45, 0.92)
    wide = side * rng.uniform(0.88, 1.15)
    it = _put(sheet, name, (rng.uniform(0, w - wide), rng.uniform(0, h - side), wide, side), look, 0.25)
    return [
        article(name),
        article(it.phrase),
        f"{article(word)} of {article(it.phrase)}",
        f"{article(it.phrase)} on {article(ground)} background",
    ]


def some_objects(sheet: Sheet) -> list[str]:
    """Draw two or three objects, or several of one, and say how they lie; their captions."""
    rng, (w, h) = sheet.rng, sheet.size
    ground, (look, word) = _backdrop(sheet), _look(rng)
    if rng.random() < 0.25:
        return _several(sheet, look, word)
    n = rng.choice([2, 2, 2, 3])
    names = rng.sample([k for k in OBJECTS if k != "cloud"], n)
    upright = n == 2 and (rng.random() < 0.35 or h > 1.25 * w)
    cell_w, cell_h = (w, h / n) if upright else (w / n, h)
    side = min(cell_w, cell_h) * rng.uniform(0.75, 0.95)
    spare = (cell_w - side, cell_h - side)
    level = rng.random()
    placed = []
    for i, name in enumerate(names):
        across, down = (
            (rng.uniform(0.3, 0.7), rng.random())
            if upright
            else (rng.random(), min(1, level + rng.uniform(0, 0.15)))
        )
        x, y = across * spare[0], down * spare[1]
        x, y = (x, y + i * cell_h) if upright else (x + i * cell_w, y)
        placed.append(_put(sheet, name, (x, y, side, side), look))
    a, b = (article(p.phrase) for p in placed[:2])
    plain = [article(p.name) for p in placed]
    if n == 3:
        c = article(placed[2].phrase)
        relation = rng.choice([f"{a}, {b} and {c} side by side", f"{b} between {a} and {c}"])
    elif upright:
        relation = rng.choice([f"{a} above {b}", f"{b} below {a}", f"{b} under {a}"])
    else:
        relation = rng.choice(
            [f"{a} to the left of {b}", f"{b} to the right of {a}", f"{a} beside {b}", f"{b} next to {a}"]
        )
    return [
        listing(plain),
        relation,
        f"{article(word)} of {listing([article(p.phrase) for p in placed])}",
        f"{listing([article(p.phrase) for p in placed])} on {article(ground)} background",
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
        _put(sheet, name, (x, y, side, side), look)
    many = f"{_COUNTS[n - 2]} {_plural(name)}"
    return [_plural(name), many, f"{article(word)} of {many}", f"a group of {_plural(name)}"]


def shapes(sheet: Sheet) -> list[str]:
    """Draw one to five geometric shapes; their captions."""
    rng, (w, h) = sheet.rng, sheet.size
    ground = _backdrop(sheet)
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
        stamp(
            sheet,
            SHAPES[names[i % len(names)]],
            (x, y, side, side),
            paints[i % len(paints)][1],
            turn=rng.uniform(-0.2, 0.2),
            look=look,
        )
    hollow = "outlined " if look == "line" else ""
    if same:
        what = f"{_COUNTS[n - 2]} {hollow}{paints[0][0]} {_plural(names[0])}"
        return [f"geometric shapes: {_plural(names[0])}", what, f"{what} on {article(ground)} background"]
    each = [article(f"{hollow}{paints[i][0]} {names[i]}") for i in range(n)]
    captions = [
        f"{'geometric shapes' if n > 1 else 'a geometric shape'}: {listing([article(k) for k in names])}",
        listing(each),
        f"{listing(each)} on {article(ground)} background",
    ]
    if n == 2:
        captions.append(f"{each[0]} to the left of {each[1]}")
    return captions


