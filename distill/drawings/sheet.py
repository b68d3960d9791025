"""The drawing surface: a sheet with a pen, fonts and named colours."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
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


def contrast(a: Colour, b: Colour) -> int:
    """How far two colours are apart, 0 to 765."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


@dataclass
class Sheet:
    """A picture being drawn: its random source, pen and colours."""

    rng: Random
    image: Image.Image
    paper: Colour
    ink: Colour

    def __post_init__(self) -> None:
        """Make the pen."""
        self.titled = False
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

    def title(self, text: str) -> float:
        """Write a title, if the drawing gets one, which `titled` then says; the y under it."""
        rng, (w, _) = self.rng, self.size
        if rng.random() < 0.12:
            return 10
        self.titled = True
        size = rng.randint(11, 16)
        while size > 8 and len(text) * size * 0.58 > w - 8:
            size -= 1
        style = font(size, rng.choice(["bold", "sans", "bold", "serif"]))
        x, anchor = (w / 2, "ma") if rng.random() < 0.75 else (8, "la")
        self.write(x, 5, text, style, anchor)
        return 5 + size * 1.4 + 4

    def dot(self, x: float, y: float, r: float, fill: Colour | None, outline: Colour | None = None) -> None:
        """Draw a circle of radius `r` around (x, y)."""
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=outline)

    def colours(self, n: int) -> list[tuple[str, Colour]]:
        """`n` different named colours that show on the paper."""
        far = [k for k, v in COLOURS.items() if contrast(v, self.paper) > 180]
        return [(k, jitter(self.rng, COLOURS[k])) for k in self.rng.sample(far, n)]
