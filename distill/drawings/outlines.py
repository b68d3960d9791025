"""Outlines in a unit square, written as text.

An outline is a list of strokes: `P` polygon, `E` ellipse and `R` rectangle by their corners, `A` arc and `S` its
segment (corners, then start and end degrees), `L` line and `T` thick line, each ending in a colour. `c` is the
object's own colour, `d` and `l` are darker and lighter shades of it, `w` white, `k` the ink; the others are
names. All become point lists, so that one affine map turns, mirrors and stretches any object.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

Points = tuple[tuple[float, float], ...]


class Stroke(NamedTuple):
    """One polygon (width 0) or polyline of an object, in the unit square."""

    points: Points
    colour: str
    width: float


def read_outline(text: str) -> list[Stroke]:
    """The strokes of an outline, its macros written out."""
    for macro, strokes in _MACROS.items():
        text = text.replace(macro, strokes)
    return [_stroke(*part.split()) for part in text.split(";")]


def _stroke(op: str, *rest: str) -> Stroke:
    v, colour = [float(x) for x in rest[:-1]], rest[-1]
    width = {"L": 0.035, "T": 0.08, "A": 0.05}.get(op, 0.0)
    if op == "R":
        return Stroke(((v[0], v[1]), (v[2], v[1]), (v[2], v[3]), (v[0], v[3])), colour, width)
    if op in "EAS":
        return Stroke(_arc(v[0], v[1], v[2], v[3], *v[4:6]), colour, width)
    return Stroke(tuple(zip(v[::2], v[1::2], strict=True)), colour, width)


def _arc(
    x0: float, y0: float, x1: float, y1: float, start: float = 0, end: float = 360, *, n: int = 22
) -> Points:
    """`n` steps along an ellipse in the box of these corners."""
    turns = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    return tuple((cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in turns)


def _polygon(points: Iterable[tuple[float, float]]) -> str:
    return f"P {' '.join(f'{x:.3f} {y:.3f}' for x, y in points)} c"


def _around(op: str, n: int, near: float, far: float, colour: str, cx: float = 0.5, cy: float = 0.5) -> str:
    """`n` rays (L, T) from radius near to far, or circles (E) of radius `far` at radius `near`."""
    parts = []
    for i in range(n):
        c, s = math.cos(math.tau * i / n), math.sin(math.tau * i / n)
        ends = (cx + near * c, cy + near * s, cx + far * c, cy + far * s)
        if op == "E":
            ends = (cx + near * c - far, cy + near * s - far, cx + near * c + far, cy + near * s + far)
        parts.append(f"{op} {' '.join(f'{x:.3f}' for x in ends)} {colour}")
    return ";".join(parts)


def _star(n: int, inner: float) -> str:
    radii = (0.5 if i % 2 == 0 else inner for i in range(2 * n))
    turns = ((r, math.pi * i / n - math.pi / 2) for i, r in enumerate(radii))
    return _polygon((0.5 + r * math.cos(t), 0.5 + r * math.sin(t)) for r, t in turns)


def _heart() -> str:
    points = []
    for i in range(30):
        t = math.tau * i / 30
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((0.5 + 0.46 * math.sin(t) ** 3, 0.45 - y / 32))
    return _polygon(points)


_MACROS = {
    "$wheels": "E .12 .6 .34 .92 k; E .66 .6 .88 .92 k; E .18 .69 .28 .83 grey; E .72 .69 .82 .83 grey",
    "$rays": _around("L", 12, 0.32, 0.48, "c"),
    "$beams": _around("T", 8, 0.36, 0.5, "c"),
    "$petals": _around("E", 6, 0.2, 0.13, "c", 0.5, 0.3),
    "$florets": _around("E", 10, 0.24, 0.09, "c", 0.5, 0.32),
    "$hours": _around("L", 12, 0.32, 0.36, "k"),
    "$crescent": _polygon(_arc(0.05, 0.05, 0.95, 0.95, 60, 300) + _arc(0.38, 0.15, 0.98, 0.85, 290, 70)),
    "$heart": _heart(),
    "$star5": _star(5, 0.2),
    "$fat5": _star(5, 0.25),
    "$star6": _star(6, 0.27),
    "$star4": _star(4, 0.15),
    "$hexagon": _polygon(_arc(0, 0, 1, 1, n=6)),
    "$pentagon": _polygon(_arc(0, 0, 1, 1, -90, 270, n=5)),
}
