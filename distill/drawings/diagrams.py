"""Diagrams of boxes, nodes and arrows."""

import math
from itertools import pairwise

from unbraid.distill.drawings.sheet import Colour, Sheet, font, shade
from unbraid.distill.drawings.vocabulary import CATEGORIES, TOPICS, any_topic, article, capital, listing

_STAFF = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo")


def _box(
    sheet: Sheet, cx: float, cy: float, w: float, h: float, text: str, fill: Colour | None, form: str
) -> None:
    """A labelled box, rounded box, ellipse or diamond around (cx, cy)."""
    at = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    if form == "ellipse":
        sheet.pen.ellipse(at, fill=fill, outline=sheet.ink)
    elif form == "diamond":
        sheet.pen.polygon(
            [(cx, at[1] - 4), (at[2] + 4, cy), (cx, at[3] + 4), (at[0] - 4, cy)], fill=fill, outline=sheet.ink
        )
    else:
        sheet.pen.rounded_rectangle(at, 6 if form == "rounded" else 0, fill=fill, outline=sheet.ink)
    ink = (20, 20, 24) if fill and sum(fill) > 360 else (245, 245, 245) if fill else None
    size = int(max(7, min(12, w / max(4, len(text)) / 0.62)))
    sheet.write(cx, cy, text, font(size), "mm", ink)


def _arrow(sheet: Sheet, x0: float, y0: float, x1: float, y1: float, width: int) -> None:
    """An arrow with a head of 7 pixels."""
    sheet.pen.line((x0, y0, x1, y1), fill=sheet.ink, width=width)
    turn = math.atan2(y1 - y0, x1 - x0)
    tips = [(x1 - 7 * math.cos(turn + d), y1 - 7 * math.sin(turn + d)) for d in (-0.45, 0.45)]
    sheet.pen.polygon([(x1, y1), *tips], fill=sheet.ink)


def flow_diagram(sheet: Sheet) -> list[str]:
    """Draw boxes joined by arrows, down, across, in a bent row or in a circle."""
    rng, (w, h) = sheet.rng, sheet.size
    topic, words = any_topic(rng)
    n = rng.randint(3, 6)
    y0 = sheet.title(capital(topic))
    ring = n > 3 and rng.random() < 0.25
    across = w > h * 1.1
    per = n if n < (5 if across else 6) else math.ceil(n / 2)  # boxes in a row, or in a column
    if ring:
        turns = [math.tau * i / n - math.pi / 2 for i in range(n)]
        rx, ry = w / 2 - 36, (h - y0) / 2 - 18
        at = [(w / 2 + rx * math.cos(t), (y0 + h) / 2 + ry * math.sin(t)) for t in turns]
        bw, bh = 58.0, 24.0
    else:
        rows = math.ceil(n / per)
        at = []
        for i in range(n):
            r, c = divmod(i, per)
            c = per - 1 - c if r % 2 else c
            u, v = (c + 0.5) / per, (r + 0.5) / rows
            u, v = (u, v) if across else (v, u)
            at.append((4 + u * (w - 8), y0 + v * (h - y0 - 4)))
        bw, bh = ((w - 8) / per, (h - y0) / rows) if across else ((w - 8) / rows, (h - y0) / per)
        bw, bh = min(bw * 0.66, 92), min(bh * 0.55, 40)
    form, fills = rng.choice(["box", "rounded", "rounded", "ellipse"]), sheet.colours(n)
    fill = rng.choice([None, "one", "many"])
    test, width = rng.choice([None, None, n // 2]), rng.randint(1, 2)
    for i, j in [*pairwise(range(n)), *([(n - 1, 0)] if ring else [])]:
        (xa, ya), (xb, yb) = at[i], at[j]
        reach = 1 / max(abs(xb - xa) / (bw / 2 + 3), abs(yb - ya) / (bh / 2 + 3), 1)
        dx, dy = (xb - xa) * reach, (yb - ya) * reach
        _arrow(sheet, xa + dx, ya + dy, xb - dx, yb - dy, width)
    for i, (x, y) in enumerate(at):
        paint = None if fill is None else shade(fills[0 if fill == "one" else i][1], 0.4)
        _box(sheet, x, y, bw, bh, words[i], paint, "diamond" if i == test else form)
    word = article(rng.choice(["flow diagram", "flow chart", "flowchart"]))
    if ring:
        way = "in a circle"
    elif per == n:
        way = "from left to right" if across else "from top to bottom"
    else:
        way = "in two rows" if across else "in two columns"
    return [
        word,
        f"{word} about {topic}",
        f"{word} of {n} steps: {', '.join(words[:n])}",
        f"a diagram of boxes and arrows {way}",
        f"a cycle diagram of {topic}" if ring else f"{word} of {topic} from {words[0]} to {words[n - 1]}",
    ]


def tree_diagram(sheet: Sheet) -> list[str]:
    """Draw a hierarchy: one root, its children, perhaps theirs."""
    rng, (w, h) = sheet.rng, sheet.size
    staff = rng.random() < 0.4
    topic, words = ("a company", CATEGORIES["department"]) if staff else any_topic(rng)
    root = rng.choice(["CEO", "director", "board"]) if staff else topic
    y0 = 8.0 if rng.random() < 0.6 else sheet.title(capital(topic))
    n = rng.randint(2, 4)
    deep = [rng.randint(0, 2) for _ in range(n)] if rng.random() < 0.7 else [0] * n
    levels = 3 if any(deep) else 2
    leaves = [max(1, d) for d in deep]
    ys = [y0 + (i + 0.5) * (h - y0 - 4) / levels for i in range(levels)]
    form, (name, paint) = rng.choice(["box", "rounded", "ellipse"]), sheet.colours(1)[0]
    filled = rng.random() < 0.7
    fill = shade(paint, 0.45) if filled else sheet.paper
    total, bend = sum(leaves), (ys[0] + ys[1]) / 2
    bw, bh = min(70, (w - 8) / total * 0.86), min(26, (h - y0) / levels * 0.5)
    boxes, used = [(w / 2, ys[0], root)], 0
    spare = iter(_STAFF if staff else [k for other in rng.sample(list(TOPICS), 3) for k in TOPICS[other]])
    for i in range(n):
        x = 4 + (used + leaves[i] / 2) * (w - 8) / total
        sheet.pen.line((w / 2, ys[0], w / 2, bend, x, bend, x, ys[1]), fill=sheet.ink)
        boxes.append((x, ys[1], words[i]))
        for j in range(deep[i]):
            xx = 4 + (used + j + 0.5) * (w - 8) / total
            sheet.pen.line((x, ys[1], xx, ys[2]), fill=sheet.ink)
            boxes.append((xx, ys[2], next(spare)))
        used += leaves[i]
    for x, y, text in boxes:
        _box(sheet, x, y, 84 if text == root else bw, bh, text, fill, form)
    names = ["tree diagram", "hierarchy diagram", "tree diagram"]
    word = article("organisation chart" if staff else rng.choice(names))
    return [
        word,
        f"{word} of {topic}",
        f"{word} with {root} at the top and {n} branches: {listing(words[:n])}",
        f"a hierarchy with {levels} levels"
        + (f" drawn with {name} boxes" if filled and form != "ellipse" else ""),
    ]


def network_graph(sheet: Sheet) -> list[str]:
    """Draw nodes joined by edges."""
    rng, (w, h) = sheet.rng, sheet.size
    topic, words = any_topic(rng)
    y0 = 6.0 if rng.random() < 0.7 else sheet.title(capital(topic))
    form = rng.choice(["random", "star", "ring"])
    n = rng.randint(6, 16)
    cx, cy = w / 2, (y0 + h) / 2
    rx, ry = w / 2 - 18, (h - y0) / 2 - 16
    if form == "random":
        cells = rng.sample([(i, j) for i in range(5) for j in range(4)], n)
        at = []
        for i, j in cells:
            x = 10 + (i + rng.uniform(0.2, 0.8)) * (w - 20) / 5
            at.append((x, y0 + (j + rng.uniform(0.2, 0.8)) * (h - y0 - 6) / 4))
        links = {
            (min(i, j), max(i, j))
            for i in range(n)
            for j in sorted(range(n), key=lambda k: math.dist(at[i], at[k]))[1 : rng.randint(2, 4)]
        }
    else:
        around = n - 1 if form == "star" else n
        turns = [math.tau * i / around for i in range(around)]
        at = [(cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in turns]
        if form == "star":
            at.insert(0, (cx, cy))
            links = {(0, i) for i in range(1, n)}
        else:
            links = {(i, (i + 1) % n) for i in range(n)}
            links |= {(rng.randrange(n), rng.randrange(n)) for _ in range(n // 2)}
    named = sheet.colours(rng.randint(1, 3))
    r, labelled = rng.uniform(5, 10), rng.random() < 0.6
    faint = shade(sheet.ink, -0.3 if sheet.is_dark else 0.4)
    for i, j in sorted(links):
        sheet.pen.line((*at[i], *at[j]), fill=faint, width=rng.randint(1, 2))
    for i, (x, y) in enumerate(at):
        big = r * (1.7 if form == "star" and i == 0 else 1)
        sheet.dot(x, y, big, named[i % len(named)][1], sheet.ink)
        if labelled and i < len(words):
            sheet.write(x, y + big + 1, words[i], font(8), "ma")
    shape = {"random": "", "star": " with one node in the middle", "ring": " arranged in a circle"}[form]
    captions = [
        "a network graph",
        f"a network graph of {n} nodes and edges{shape}",
        f"a graph with {listing([k for k, _ in named])} nodes joined by lines",
    ]
    return [*captions, f"a network of words about {topic}: {listing(words[:4])}"] if labelled else captions
