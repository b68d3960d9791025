"""Objects and simple scenes, drawn from unit-square outlines, with the words that describe them.

An object is a list of strokes in a unit square: `P` polygon, `E` ellipse and `R` rectangle by their corners,
`A` arc and `S` its segment (corners, then start and end degrees), `L` line and `T` thick line, each ending in a colour. `c` is the
object's own colour, `d` and `l` are darker and lighter shades of it, `k` the ink; the others are names. All
become point lists at import, so that one affine map turns, mirrors and stretches any object.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Points = tuple[tuple[float, float], ...]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (243, 132, 24),
    "yellow": (250, 205, 40),
    "green": (52, 148, 66),
    "blue": (44, 98, 200),
    "purple": (130, 60, 165),
    "pink": (240, 130, 170),
    "brown": (130, 84, 48),
    "grey": (135, 138, 145),
    "black": (32, 32, 36),
    "white": (250, 250, 250),
    "turquoise": (38, 175, 180),
}
_FIXED = COLOURS | {"sky": (170, 215, 240), "skin": (240, 200, 165), "leaf": (70, 150, 60), "k": (32, 32, 36)}
_FACES = {
    "sans": "DejaVuSans.ttf",
    "bold": "DejaVuSans-Bold.ttf",
    "serif": "DejaVuSerif.ttf",
    "mono": "DejaVuSansMono.ttf",
}


@lru_cache(maxsize=256)
def font(size: int, face: str = "sans") -> Font:
    """A font of `size` pixels: DejaVu where the machine has it, else Pillow's own."""
    try:  # the basic layout engine is faster, and the same with and without libraqm
        return ImageFont.truetype(_FACES[face], size, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        return ImageFont.load_default(size=size)


def shade(colour: Colour, by: float) -> Colour:
    """`colour` moved towards black (by < 0) or white (by > 0); by = ±1 reaches it."""
    end = 255 if by > 0 else 0
    r, g, b = (round(v + (end - v) * abs(by)) for v in colour)
    return r, g, b


def jitter(rng: Random, colour: Colour, by: int = 16) -> Colour:
    """`colour` with each channel moved by at most `by`."""
    r, g, b = (min(255, max(0, v + rng.randint(-by, by))) for v in colour)
    return r, g, b


def article(words: str) -> str:
    """`words` after "a" or "an"; plural words are left alone."""
    return words if words.split()[-1] in _PLURAL else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def listing(words: Sequence[str]) -> str:
    """Words joined as "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


@dataclass
class Sheet:
    """A picture being drawn: its random source, pen and colours."""

    rng: Random
    image: Image.Image
    paper: Colour
    ink: Colour

    def __post_init__(self) -> None:
        """Make the pen."""
        self.pen = ImageDraw.Draw(self.image)
        self.pen.fontmode = "L"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    @property
    def is_dark(self) -> bool:
        """Whether the paper is dark."""
        return sum(self.paper) < 300

    def fill(self, colour: Colour) -> None:
        """Paint the whole sheet, and choose an ink that shows on it."""
        self.paper = colour
        self.ink = (235, 235, 235) if self.is_dark else (30, 30, 34)
        self.pen.rectangle((0, 0, *self.size), fill=colour)

    def write(
        self, x: float, y: float, text: str, style: Font, anchor: str, fill: Colour | None = None
    ) -> None:
        """Write one line of text."""
        if not isinstance(style, ImageFont.FreeTypeFont):  # the bitmap fallback knows no anchors
            anchor = "la"
        self.pen.text((round(x), round(y)), text, fill=fill or self.ink, font=style, anchor=anchor)

    def colours(self, n: int) -> list[tuple[str, Colour]]:
        """`n` different named colours that show on the paper."""
        far = [
            k for k, v in COLOURS.items() if sum(abs(a - b) for a, b in zip(v, self.paper, strict=True)) > 180
        ]
        return [(k, jitter(self.rng, COLOURS[k])) for k in self.rng.sample(far, n)]


class Stroke(NamedTuple):
    """One polygon (width 0) or polyline of an object, in the unit square."""

    points: Points
    colour: str
    width: float


def _arc(
    x0: float, y0: float, x1: float, y1: float, start: float = 0, end: float = 360, *, n: int = 22
) -> Points:
    turns = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    return tuple((cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in turns)


def _parse(spec: str) -> list[Stroke]:
    strokes = []
    for part in spec.split(";"):
        op, *numbers, colour = part.split()
        v = [float(x) for x in numbers]
        width = {"L": 0.035, "T": 0.08, "A": 0.05}.get(op, 0.0)
        if op == "R":
            points: Points = ((v[0], v[1]), (v[2], v[1]), (v[2], v[3]), (v[0], v[3]))
        elif op in "EAS":
            points = _arc(v[0], v[1], v[2], v[3], *v[4:6])
        else:
            points = tuple(zip(v[::2], v[1::2], strict=True))
        strokes.append(Stroke(points, colour, width))
    return strokes


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
    turns = [(r, math.pi * i / n - math.pi / 2) for i, r in enumerate(radii)]
    return (
        "P " + " ".join(f"{0.5 + r * math.cos(t):.3f} {0.5 + r * math.sin(t):.3f}" for r, t in turns) + " c"
    )


def _heart() -> str:
    points = []
    for i in range(30):
        t = math.tau * i / 30
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append(f"{0.5 + 0.46 * math.sin(t) ** 3:.3f} {0.45 - y / 32:.3f}")
    return f"P {' '.join(points)} c"


def _crescent() -> str:
    points = _arc(0.05, 0.05, 0.95, 0.95, 60, 300) + _arc(0.38, 0.15, 0.98, 0.85, 290, 70)
    return "P " + " ".join(f"{x:.3f} {y:.3f}" for x, y in points) + " c"


_MACROS = {
    "$wheels": "E .12 .6 .34 .92 k; E .66 .6 .88 .92 k; E .18 .69 .28 .83 grey; E .72 .69 .82 .83 grey",
    "$rays": _around("L", 12, 0.32, 0.48, "c"),
    "$beams": _around("T", 8, 0.36, 0.5, "c"),
    "$petals": _around("E", 6, 0.2, 0.13, "c", 0.5, 0.3),
    "$florets": _around("E", 10, 0.24, 0.09, "c", 0.5, 0.32),
    "$hours": _around("L", 12, 0.32, 0.36, "k"),
    "$crescent": _crescent(),
    "$heart": _heart(),
    "$star5": _star(5, 0.2),
    "$fat5": _star(5, 0.25),
    "$star6": _star(6, 0.27),
    "$star4": _star(4, 0.15),
}
# name: the colours it may have, the natural one first; then its outlines, each after a dash
_OBJECTS = """
house: red yellow white blue orange grey brown pink
- R .12 .42 .88 1 c; P .02 .42 .5 .05 .98 .42 d; R .42 .66 .58 1 brown; R .2 .54 .34 .7 sky;
  R .66 .54 .8 .7 sky
- R .7 .08 .82 .4 d; R .18 .45 .82 1 c; P .1 .48 .3 .15 .7 .15 .9 .48 brown; R .25 .65 .42 1 d;
  R .55 .6 .75 .8 w
tree: green
- R .44 .6 .56 1 brown; E .12 .02 .88 .68 c
- R .45 .82 .55 1 brown; P .5 0 .78 .4 .22 .4 c; P .5 .2 .86 .62 .14 .62 c; P .5 .4 .95 .85 .05 .85 c
- P .43 1 .46 .5 .54 .5 .57 1 brown; E .05 .25 .55 .7 c; E .45 .25 .95 .7 c; E .25 .02 .75 .5 c
sun: yellow orange
- E .25 .25 .75 .75 c; $rays
- E .2 .2 .8 .8 c; $beams
moon: yellow white grey
- $crescent
- E .1 .1 .9 .9 c; E .3 .25 .48 .43 d; E .55 .5 .7 .65 d; E .3 .62 .4 .72 d
star: yellow red blue orange white pink
- $star5
- $fat5
- $star6
- $star4
heart: red pink purple blue
- $heart
car: red blue green yellow white grey black orange
- P .02 .78 .04 .5 .25 .45 .36 .2 .7 .2 .82 .45 .98 .52 .98 .78 c; P .38 .27 .51 .27 .51 .45 .3 .45 sky;
  P .55 .27 .67 .27 .76 .45 .55 .45 sky; $wheels
- R .02 .4 .98 .76 c; P .1 .4 .2 .12 .9 .12 .96 .4 c; R .2 .2 .5 .4 sky; R .56 .2 .86 .4 sky; $wheels
bus: red yellow blue green orange
- R .02 .15 .98 .78 c; R 0.07 .25 0.22 .45 sky; R 0.27 .25 0.42 .45 sky; R 0.47 .25 0.62 .45 sky;
  R 0.67 .25 0.82 .45 sky; R .86 .25 .98 .45 sky; $wheels
boat: red blue brown white green
- L .5 .72 .5 .02 brown; P .05 .7 .95 .7 .8 .95 .2 .95 c; P .54 .08 .54 .64 .9 .64 white;
  P .46 .16 .46 .64 .16 .64 l
- P .02 .6 .98 .6 .85 .95 .15 .95 c; R .25 .4 .7 .6 white; R .5 .15 .6 .4 d; R .32 .46 .4 .54 sky;
  R .48 .46 .56 .54 sky
mountain: grey blue brown purple
- P 0 1 .5 .08 1 1 c; P .38 .3 .5 .08 .62 .3 .55 .25 .5 .34 .44 .26 white
- P .3 1 .7 .2 1 1 d; P 0 1 .38 .05 .75 1 c; P .28 .28 .38 .05 .48 .28 .38 .22 white
flower: red pink yellow purple white orange blue
- L .5 .4 .5 1 leaf; P .5 .85 .75 .65 .8 .78 leaf; $petals; E .39 .19 .61 .41 yellow
- L .5 .45 .5 1 leaf; P .5 .9 .25 .6 .22 .8 leaf; P .25 .1 .38 .25 .5 .05 .62 .25 .75 .1 .72 .5 .28 .5 c
- T .5 .4 .5 1 leaf; $florets; E .32 .14 .68 .5 brown
cat: orange black grey white brown
- P .2 .45 .2 .05 .45 .25 c; P .8 .45 .8 .05 .55 .25 c; E .15 .2 .85 .9 c; E .3 .42 .42 .56 w;
  E .58 .42 .7 .56 w; E .34 .44 .4 .54 k; E .6 .44 .66 .54 k; P .46 .62 .54 .62 .5 .68 pink;
  L .5 .68 .42 .75 k; L .5 .68 .58 .75 k; L .4 .66 .05 .6 k; L .4 .7 .05 .74 k; L .6 .66 .95 .6 k;
  L .6 .7 .95 .74 k
- A .6 .5 1 .98 -90 110 c; E .26 .42 .76 1 c; P .28 .3 .28 .02 .46 .16 c; P .72 .3 .72 .02 .54 .16 c;
  E .24 .1 .76 .56 c; E .36 .27 .44 .37 w; E .56 .27 .64 .37 w; E .39 .29 .43 .36 k; E .57 .29 .61 .36 k;
  P .46 .4 .54 .4 .5 .45 pink; L .44 .44 .14 .4 k; L .44 .46 .14 .5 k; L .56 .44 .86 .4 k;
  L .56 .46 .86 .5 k
dog: brown white black orange grey
- T .2 .5 .04 .28 c; R .16 .45 .72 .72 c; R .18 .7 .28 1 c; R .58 .7 .68 1 c; R .3 .7 .38 .98 d;
  E .58 .14 .9 .52 c; E .76 .3 1 .5 c; E .92 .32 1 .4 k; P .62 .16 .72 .2 .68 .52 .58 .48 d;
  E .76 .24 .82 .31 k
- E .2 .15 .8 .85 c; P .2 .2 .32 .15 .3 .6 .1 .65 .08 .35 d; P .8 .2 .68 .15 .7 .6 .9 .65 .92 .35 d;
  E .34 .5 .66 .82 l; E .44 .5 .56 .6 k; E .32 .35 .42 .46 k; E .58 .35 .68 .46 k; L .5 .6 .5 .7 k;
  E .45 .7 .55 .9 red
fish: orange blue red yellow green pink
- P .68 .5 .98 .2 .9 .5 .98 .8 c; P .35 .3 .5 .1 .6 .32 d; E .04 .22 .76 .78 c; E .14 .38 .24 .48 w;
  E .17 .41 .22 .46 k; A .2 .3 .4 .7 -60 60 d
bird: blue red yellow brown black green
- P .28 .55 .02 .4 .04 .66 d; L .46 .78 .44 1 orange; L .54 .78 .56 1 orange; E .18 .38 .74 .84 c;
  E .58 .18 .88 .5 c; P .86 .28 1 .36 .86 .4 orange; P .28 .52 .6 .5 .4 .74 d; E .72 .27 .78 .34 k
- P .5 .6 .05 .15 .3 .2 .5 .45 c; P .5 .6 .95 .15 .7 .2 .5 .45 c; E .4 .4 .6 .8 c;
  P .46 .42 .54 .42 .5 .3 orange
person: blue red green black purple
- E .36 .02 .64 .26 skin; P .3 .3 .7 .3 .66 .66 .34 .66 c; T .32 .34 .14 .58 c; T .68 .34 .86 .58 c;
  T .42 .66 .38 1 k; T .58 .66 .62 1 k; E .43 .1 .47 .14 k; E .53 .1 .57 .14 k
- A .36 .02 .64 .28 0 360 k; L .5 .28 .5 .65 k; L .5 .4 .2 .55 k; L .5 .4 .8 .55 k; L .5 .65 .28 1 k;
  L .5 .65 .72 1 k
- E .36 .02 .64 .26 skin; P .5 .24 .82 .8 .18 .8 c; T .4 .4 .18 .5 skin; T .6 .4 .82 .5 skin;
  T .43 .8 .43 1 skin; T .57 .8 .57 1 skin; A .36 0 .64 .26 180 360 brown
cup: white blue red green brown yellow
- A .6 .38 .94 .74 -90 90 c; P .16 .25 .74 .25 .68 .92 .22 .92 c; E .16 .2 .74 .32 d
- A .62 .45 .96 .8 -100 100 c; R .12 .35 .76 .95 c; A .3 .05 .44 .3 90 270 grey; A .5 .05 .64 .3 90 270 grey
apple: red green yellow
- E .08 .25 .6 .96 c; E .4 .25 .92 .96 c; L .5 .34 .54 .06 brown; P .54 .2 .72 .04 .84 .12 .68 .24 leaf
banana: yellow
- P .1 .3 .2 .28 .35 .55 .6 .68 .9 .6 .94 .68 .7 .86 .4 .82 .18 .6 c; P .08 .22 .18 .2 .2 .28 .1 .3 brown
balloon: red blue yellow green pink purple orange
- E .2 0 .8 .66 c; P .44 .72 .5 .64 .56 .72 c; L .5 .72 .46 .84 .54 .92 .5 1 k; E .32 .12 .42 .28 l
clock: white red blue yellow black
- E .04 .04 .96 .96 c; E .12 .12 .88 .88 white; $hours; L .5 .5 .5 .22 k; L .5 .5 .68 .6 k;
  E .47 .47 .53 .53 k
key: yellow grey brown
- E .02 .3 .42 .7 c; E .12 .4 .32 .6 white; R .4 .46 .98 .54 c; R .8 .54 .86 .72 c; R .9 .54 .96 .68 c
umbrella: red blue purple yellow green black
- L .5 .05 .5 .88 k; A .5 .78 .66 .98 0 180 k; S .04 .12 .96 1 180 360 c; L .5 .12 .35 .56 d;
  L .5 .12 .65 .56 d
ladder: brown grey red yellow
- T .28 0 .28 1 c; T .72 0 .72 1 c; L .28 0.12 .72 0.12 c; L .28 0.28 .72 0.28 c; L .28 0.44 .72 0.44 c;
  L .28 0.6 .72 0.6 c; L .28 0.76 .72 0.76 c; L .28 0.92 .72 0.92 c
book: blue red green brown purple
- P .02 .2 .5 .3 .98 .2 .98 .84 .5 .94 .02 .84 c; P .06 .2 .48 .3 .48 .88 .06 .78 white;
  P .94 .2 .52 .3 .52 .88 .94 .78 white; L .12 .34 .42 .41 grey; L .12 .48 .42 .55 grey;
  L .12 .62 .42 .69 grey; L .88 .34 .58 .41 grey; L .88 .48 .58 .55 grey; L .88 .62 .58 .69 grey
- R .18 .05 .84 .95 c; R .18 .05 .28 .95 d; R .38 .2 .74 .36 white; L .42 .28 .7 .28 k
ball: red blue orange green yellow
- E .06 .06 .94 .94 c; A .06 .3 .94 .7 0 180 w; A .3 .06 .7 .94 90 270 w
- E .06 .06 .94 .94 c; S .06 .06 .94 .94 200 290 l; S .06 .06 .94 .94 20 110 l
bicycle: red blue green black
- A 0 .45 .4 .9 0 360 k; A .6 .45 1 .9 0 360 k; L .2 .68 .36 .32 .7 .32 .5 .68 .2 .68 c; L .36 .32 .5 .68 c;
  L .68 .22 .8 .68 c; L .28 .26 .42 .26 k; L .6 .2 .74 .22 k
train: red green blue black
- R .05 .4 .6 .75 c; R .58 .15 .95 .75 c; R .66 .22 .88 .42 sky; R .14 .15 .26 .4 d; E .08 .7 .28 .95 k;
  E .36 .7 .56 .95 k; E .66 .7 .86 .95 k; E .1 0 .22 .12 grey
airplane: white grey blue red
- P .42 .5 .2 .95 .34 .95 .66 .5 d; P .05 .42 .8 .38 .98 .5 .8 .58 .1 .56 c;
  P .08 .44 0 .15 .14 .15 .26 .44 d; P .46 .42 .3 .1 .42 .1 .64 .42 l; E .78 .42 .88 .5 sky
rocket: red white blue grey
- P .3 .7 .1 .95 .32 .88 d; P .7 .7 .9 .95 .68 .88 d; P .38 .85 .5 1 .62 .85 orange;
  P .5 0 .7 .3 .7 .85 .3 .85 .3 .3 c; E .4 .34 .6 .54 sky
mushroom: red brown orange
- P .38 .5 .62 .5 .68 1 .32 1 white; S .05 .08 .95 1.04 180 360 c; E .24 .25 .38 .38 w; E .5 .16 .64 .29 w;
  E .66 .36 .78 .48 w
butterfly: orange blue yellow purple pink
- E .02 .08 .48 .55 c; E .52 .08 .98 .55 c; E .1 .48 .48 .92 d; E .52 .48 .9 .92 d; E .45 .2 .55 .85 k;
  L .48 .22 .38 .02 k; L .52 .22 .62 .02 k
snowman: white
- E .2 .5 .8 1 c; E .28 .22 .72 .62 c; E .34 0 .66 .32 c; P .5 .16 .72 .2 .5 .22 orange; E .42 .1 .46 .14 k;
  E .54 .1 .58 .14 k; E .48 .36 .52 .4 k; E .48 .46 .52 .5 k; L .3 .4 .02 .25 brown; L .7 .4 .98 .25 brown
cactus: green
- T .5 .1 .5 1 c; T .5 .65 .22 .65 .22 .35 c; T .5 .5 .78 .5 .78 .2 c; R .44 .08 .56 1 c
lamp: yellow red blue white
- P .3 .08 .7 .08 .9 .5 .1 .5 c; T .5 .5 .5 .9 k; E .25 .86 .75 1 k
envelope: white yellow red blue
- R .02 .2 .98 .82 c; L .02 .2 .5 .56 .98 .2 k; L .02 .2 .98 .2 .98 .82 .02 .82 .02 .2 k
hat: black red brown blue
- R .26 .1 .74 .75 c; R .26 .58 .74 .7 l; E .02 .66 .98 .86 c
cake: pink brown white
- R .1 .45 .9 .95 c; R .1 .45 .9 .58 w; R .3 .2 .35 .45 blue; R .48 .2 .53 .45 red; R .66 .2 .71 .45 green;
  E .29 .08 .36 .2 orange; E .47 .08 .54 .2 orange; E .65 .08 .72 .2 orange
gift: red blue green purple pink
- R .1 .4 .9 .98 c; R .04 .28 .96 .44 d; R .44 .28 .56 .98 yellow; E .24 .06 .5 .28 yellow;
  E .5 .06 .76 .28 yellow
flag: red blue green yellow orange
- T .15 0 .15 1 brown; P .18 .05 .95 .08 .8 .3 .95 .52 .18 .5 c
ice cream: pink brown white yellow green
- P .25 .45 .75 .45 .5 1 orange; E .2 .08 .8 .58 c
- P .28 .5 .72 .5 .5 1 brown; E .18 .3 .54 .6 c; E .46 .3 .82 .6 l; E .3 .06 .7 .42 d
pencil: yellow red blue green
- R .02 .42 .74 .58 c; P .74 .42 .98 .5 .74 .58 skin; P .91 .47 .98 .5 .91 .53 k; R .02 .42 .1 .58 pink
chair: brown red blue black
- T .25 .05 .25 1 c; R .22 .5 .8 .6 c; T .77 .55 .77 1 c; R .22 .08 .32 .5 c; R .22 .05 .3 .45 d
glass of water: blue
- P .18 .05 .82 .05 .72 .97 .28 .97 w; P .21 .35 .79 .35 .72 .95 .28 .95 sky;
  L .18 .05 .28 .97 .72 .97 .82 .05 c
scissors: grey red blue
- T .3 .62 .75 .04 grey; T .7 .62 .25 .04 grey; A .06 .58 .44 .98 0 360 c; A .56 .58 .94 .98 0 360 c
cloud: white grey
- E .02 .4 .4 .85 c; E .22 .15 .66 .72 c; E .5 .25 .86 .8 c; E .66 .42 .98 .85 c; R .2 .55 .8 .85 c
"""
_PLURAL = {"scissors", "stars", "mountains", "clouds", "trees", "birds", "flowers"}


def _read(text: str) -> dict[str, tuple[tuple[str, ...], list[list[Stroke]]]]:
    """Colours and outlines by name."""
    objects: dict[str, tuple[tuple[str, ...], list[list[Stroke]]]] = {}
    for entry in re.split(r"\n(?=\w)", text.strip()):
        head, *specs = entry.split("\n-")
        name, colours = head.split(":")
        for macro, strokes in _MACROS.items():
            specs = [spec.replace(macro, strokes) for spec in specs]
        objects[name] = (tuple(colours.split()), [_parse(spec) for spec in specs])
    return objects


OBJECTS = _read(_OBJECTS)
SHAPES = {
    "circle": _parse("E 0 0 1 1 c"),
    "square": _parse("R .05 .05 .95 .95 c"),
    "triangle": _parse("P .5 .03 1 .95 0 .95 c"),
    "rectangle": _parse("R 0 .25 1 .75 c"),
    "ellipse": _parse("E 0 .22 1 .78 c"),
    "diamond": _parse("P .5 0 .85 .5 .5 1 .15 .5 c"),
    "hexagon": _parse("P " + " ".join(f"{p[0]:.3f} {p[1]:.3f}" for p in _arc(0, 0, 1, 1, n=6)) + " c"),
    "pentagon": _parse(
        "P " + " ".join(f"{p[0]:.3f} {p[1]:.3f}" for p in _arc(0, 0, 1, 1, -90, 270, n=5)) + " c"
    ),
    "star": OBJECTS["star"][1][0],
    "cross": _parse("R .36 0 .64 1 c;R 0 .36 1 .64 c"),
    "arrow": _parse("R 0 .38 .6 .62 c;P .55 .15 1 .5 .55 .85 c"),
    "ring": _parse("A .05 .05 .95 .95 0 360 c"),
    "crescent": _parse(_crescent()),
    "heart": OBJECTS["heart"][1][0],
}


def stamp(
    sheet: Sheet,
    strokes: Iterable[Stroke],
    box: tuple[float, float, float, float],
    colour: Colour,
    *,
    turn: float = 0.0,
    mirror: bool = False,
    look: str = "flat",
) -> None:
    """Draw `strokes` into `box` (x, y, width, height): "flat" colour, "inked" outlines, or outlines only ("line")."""
    x0, y0, w, h = box
    c, s = math.cos(turn), math.sin(turn)
    inks = {"c": colour, "d": shade(colour, -0.28), "l": shade(colour, 0.45), "w": COLOURS["white"]}
    unit = min(w, h)
    for points, name, width in strokes:
        at = []
        for x, y in points:
            dx, dy = (0.5 - x if mirror else x - 0.5) * w, (y - 0.5) * h
            at.append((x0 + w / 2 + c * dx - s * dy, y0 + h / 2 + s * dx + c * dy))
        fill = inks.get(name) or _FIXED[name]
        if name == "k" and sheet.is_dark and width:
            fill = sheet.ink
        if width:
            sheet.pen.line(
                at, fill=colour if look == "line" else fill, width=max(1, round(width * unit)), joint="curve"
            )
        elif look == "line":
            sheet.pen.line([*at, at[0]], fill=colour, width=max(1, round(0.025 * unit)))
        else:
            sheet.pen.polygon(at, fill=fill)
            if look == "inked":
                sheet.pen.line([*at, at[0]], fill=sheet.ink, width=max(1, round(0.02 * unit)))


class Placed(NamedTuple):
    """An object on the sheet: its name, and its name with the colour where that is worth saying."""

    name: str
    phrase: str


def _put(
    sheet: Sheet, name: str, box: tuple[float, float, float, float], look: str = "flat", tilt: float = 0.12
) -> Placed:
    """Draw an object in a colour that shows, and say what it is."""
    rng = sheet.rng
    natural, outlines = OBJECTS[name]
    seen = [k for k in natural if sum(abs(a - b) for a, b in zip(COLOURS[k], sheet.paper, strict=True)) > 130]
    colour = natural[0] if natural[0] in seen and rng.random() < 0.35 else rng.choice(seen or natural)
    rgb = sheet.ink if look == "line" else jitter(rng, COLOURS[colour])
    stamp(
        sheet,
        rng.choice(outlines),
        box,
        rgb,
        turn=rng.uniform(-tilt, tilt),
        mirror=rng.random() < 0.5,
        look=look,
    )
    plain = look == "line" or name in {"person", "glass of water", "scissors"} or len(natural) == 1
    return Placed(name, name if plain else f"{colour} {name}")


def _backdrop(sheet: Sheet) -> str:
    """Choose a plain background; its colour's name."""
    rng = sheet.rng
    name = rng.choice(
        ["white", "white", "white", "cream", "black", "blue", "green", "yellow", "pink", "grey"]
    )
    pale = {"white": (255, 255, 255), "cream": (250, 243, 224), "black": (24, 26, 34)}
    sheet.fill(pale.get(name) or shade(COLOURS[name], 0.7))
    return name if name in {"white", "black", "cream"} else f"light {name}"


def _look(rng: Random) -> tuple[str, str]:
    look = rng.choice(["flat", "flat", "inked", "inked", "line"])
    word = {
        "flat": ["drawing", "picture", "illustration"],
        "inked": ["cartoon", "drawing"],
        "line": ["line drawing", "sketch"],
    }
    return look, rng.choice(word[look])


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


_COUNTS = ("two", "three", "four", "five", "six")


def _plural(name: str) -> str:
    special = {
        "scissors": "pairs of scissors",
        "fish": "fish",
        "person": "people",
        "glass of water": "glasses of water",
    }
    ending = "es" if name.endswith(("s", "x", "ch", "sh")) else "s"
    if name.endswith("fly"):
        return name[:-1] + "ies"
    return special.get(name) or (
        "cacti" if name == "cactus" else "snowmen" if name == "snowman" else name + ending
    )


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
