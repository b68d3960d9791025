"""Puts outlines and objects on a sheet."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from unbraid.distill.drawings.objects import OBJECTS
from unbraid.distill.drawings.outlines import Stroke
from unbraid.distill.drawings.sheet import COLOURS, Colour, Sheet, contrast, jitter, shade

Box = tuple[float, float, float, float]  # x, y, width, height

_FIXED = COLOURS | {"sky": (170, 215, 240), "skin": (240, 200, 165), "leaf": (70, 150, 60), "k": (32, 32, 36)}


def stamp(
    sheet: Sheet,
    strokes: Iterable[Stroke],
    box: Box,
    colour: Colour,
    *,
    turn: float = 0.0,
    mirror: bool = False,
    look: str = "flat",
) -> None:
    """Draw `strokes` into `box`: "flat" colour, "inked" outlines, or outlines only ("line")."""
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


def put(sheet: Sheet, name: str, box: Box, look: str = "flat", tilt: float = 0.12) -> Placed:
    """Draw an object in a colour that shows, and say what it is."""
    rng = sheet.rng
    natural, outlines = OBJECTS[name]
    seen = [k for k in natural if contrast(COLOURS[k], sheet.paper) > 130]
    colour = natural[0] if natural[0] in seen and rng.random() < 0.35 else rng.choice(seen or natural)
    rgb = sheet.ink if look == "line" else jitter(rng, COLOURS[colour])
    outline, turn, mirror = rng.choice(outlines), rng.uniform(-tilt, tilt), rng.random() < 0.5
    stamp(sheet, outline, box, rgb, turn=turn, mirror=mirror, look=look)
    plain = look == "line" or name in {"person", "glass of water", "scissors"} or len(natural) == 1
    return Placed(name, name if plain else f"{colour} {name}")
