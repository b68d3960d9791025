"""Draws the pictures in examples/pictures: `python examples/draw.py` writes the same files again.

They are drawn by hand, a function each, with nothing from the generator that the image encoder learns from.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PICTURES = Path(__file__).parent / "pictures"
FINE = 3  # drawn this many times larger, then averaged down: smooth edges
Xy = Sequence[float]

NAVY, TEAL, CORAL, SAND, SLATE = "#23395d", "#2a9d8f", "#e76f51", "#e9c46a", "#5c677d"
INK, PALE, GRID = "#22252b", "#f4f6f9", "#d9dde4"


class Paper:
    """A sheet whose drawing calls take coordinates in final pixels."""

    def __init__(self, width: int, height: int, colour: str = "white") -> None:
        """Start with one colour."""
        self.width, self.height = width, height
        self.image = Image.new("RGB", (width * FINE, height * FINE), colour)
        self.pen = ImageDraw.Draw(self.image)

    def box(
        self, xy: Xy, fill: str | None, outline: str | None = None, width: float = 1, round_: float = 0
    ) -> None:
        """A rectangle x0, y0, x1, y1, with rounded corners if wanted."""
        self.pen.rounded_rectangle(_fine(xy), round_ * FINE, fill, outline, round(width * FINE))

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        fill: str | None,
        outline: str | None = None,
        width: float = 1,
    ) -> None:
        """An ellipse around (x, y)."""
        self.pen.ellipse(_fine((x - rx, y - ry, x + rx, y + ry)), fill, outline, round(width * FINE))

    def shape(self, xy: Xy, fill: str) -> None:
        """A polygon x0, y0, x1, y1, ..."""
        self.pen.polygon(_fine(xy), fill)

    def line(self, xy: Xy, fill: str, width: float = 1) -> None:
        """A line through x0, y0, x1, y1, ... with round joints and ends."""
        points, r = _fine(xy), width * FINE / 2
        self.pen.line(points, fill, round(width * FINE), joint="curve")
        for x, y in (points[:2], points[-2:]) if width > 1 else ():
            self.pen.ellipse((x - r, y - r, x + r, y + r), fill)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: str, width: float
    ) -> None:
        """A part of an ellipse's edge, degrees clockwise from the right."""
        turns = [math.radians(start + (end - start) * i / 40) for i in range(41)]
        self.line([v for t in turns for v in (x + rx * math.cos(t), y + ry * math.sin(t))], fill, width)

    def slice(self, x: float, y: float, r: float, start: float, end: float, fill: str) -> None:
        """A slice of a circle."""
        self.pen.pieslice(_fine((x - r, y - r, x + r, y + r)), start, end, fill, "white", 2 * FINE)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        fill: str = INK,
        anchor: str = "la",
        bold: bool = False,
    ) -> None:
        """One line of text."""
        self.pen.text((x * FINE, y * FINE), words, fill, _font(round(size * FINE), bold), anchor)

    def sky(self, top: Xy, low: Xy, horizon: float) -> None:
        """A vertical blend from `top` to `low`, as RGB, down to `horizon`."""
        for y in range(round(horizon * FINE)):
            t = y / (horizon * FINE)
            colour = tuple(round(a + (b - a) * t) for a, b in zip(top, low, strict=True))
            self.pen.line((0, y, self.width * FINE, y), colour)

    def arrow(self, xy: Xy, fill: str = SLATE, width: float = 2) -> None:
        """A line from x0, y0 to x1, y1 with a head."""
        x0, y0, x1, y1 = xy
        turn = math.atan2(y1 - y0, x1 - x0)
        self.line((x0, y0, x1 - 5 * math.cos(turn), y1 - 5 * math.sin(turn)), fill, width)
        sides = [v for d in (-0.45, 0.45) for v in (x1 - 9 * math.cos(turn + d), y1 - 9 * math.sin(turn + d))]
        self.shape((x1, y1, *sides), fill)

    def save(self, name: str) -> None:
        """Write a small PNG."""
        small = self.image.resize((self.width, self.height), Image.Resampling.LANCZOS)
        small = small.quantize(96, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        small.save(PICTURES / f"{name}.png", optimize=True)


def _fine(xy: Xy) -> list[float]:
    return [v * FINE for v in xy]


def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype(
            "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf", size, layout_engine=ImageFont.Layout.BASIC
        )
    except OSError:
        return ImageFont.load_default(size)


def rainfall_bars() -> Paper:
    """A bar chart of rainfall by month."""
    p = Paper(320, 220)
    p.text(160, 8, "Rainfall by month (mm)", 13, anchor="ma", bold=True)
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    for value in range(0, 121, 30):
        y = 190 - value * 1.25
        p.line((36, y, 308, y), GRID)
        p.text(31, y, str(value), 9, SLATE, "rm")
    for i, value in enumerate((62, 48, 55, 70, 84, 96, 112, 104, 78, 73, 81, 68)):
        x = 41 + i * 22.3
        p.box((x, 190 - value * 1.25, x + 15, 190), CORAL if value == 112 else "#3a7ca5")
        p.text(x + 7.5, 194, months[i], 8, SLATE, "ma")
    p.line((36, 190, 308, 190), INK)
    return p


def temperature_line() -> Paper:
    """A line chart of the temperature over a week, by day and by night."""
    p = Paper(320, 220)
    p.text(14, 8, "Temperature this week, °C", 13, bold=True)
    for value in range(0, 31, 10):
        y = 188 - value * 4.6
        p.line((34, y, 250, y), GRID)
        p.text(29, y, str(value), 9, SLATE, "rm")
    for name, colour, values in (
        ("day", CORAL, (18, 20, 23, 27, 26, 21, 17)),
        ("night", NAVY, (8, 9, 11, 14, 15, 12, 7)),
    ):
        points = [v for i, value in enumerate(values) for v in (44 + i * 33, 188 - value * 4.6)]
        p.line(points, colour, 2.5)
        for x, y in zip(points[::2], points[1::2], strict=True):
            p.oval(x, y, 4, 4, "white", colour, 2)
        p.text(256, points[-1], name, 11, colour, "lm", bold=True)
    for i, day in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")):
        p.text(44 + i * 33, 196, day, 9, SLATE, "ma")
    return p


def energy_pie() -> Paper:
    """A pie chart of the sources of electricity."""
    p = Paper(320, 220, "#fffdf7")
    p.text(160, 8, "Where electricity comes from", 13, anchor="ma", bold=True)
    start = -90.0
    shares = (
        ("wind", 34, TEAL),
        ("solar", 22, SAND),
        ("gas", 18, CORAL),
        ("nuclear", 14, "#8d6cab"),
        ("coal", 12, "#4a4e57"),
    )
    for i, (name, share, colour) in enumerate(shares):
        end = start + share * 3.6
        p.slice(112, 122, 84, start, end, colour)
        middle = math.radians((start + end) / 2)
        p.text(
            112 + 56 * math.cos(middle),
            122 + 56 * math.sin(middle),
            f"{share}%",
            11,
            "white",
            "mm",
            bold=True,
        )
        p.box((218, 62 + i * 25, 232, 76 + i * 25), colour, round_=3)
        p.text(239, 69 + i * 25, name, 12, anchor="lm")
        start = end
    return p


def search_pipeline() -> Paper:
    """A flow diagram of a search engine: from files to ranked results."""
    p = Paper(320, 200)
    steps = (
        ("files", 52, 50, PALE),
        ("chunks", 160, 50, PALE),
        ("encoder", 268, 50, "#cfe8e4"),
        ("results", 52, 150, "#fbe3da"),
        ("ranking", 160, 150, PALE),
        ("index", 268, 150, "#f8ecc9"),
    )
    for name, x, y, colour in steps:
        p.box((x - 40, y - 21, x + 40, y + 21), colour, SLATE, 1.5, 8)
        p.text(x, y, name, 13, anchor="mm")
    for xy in (
        (94, 50, 117, 50),
        (202, 50, 225, 50),
        (268, 73, 268, 126),
        (226, 150, 203, 150),
        (118, 150, 95, 150),
    ):
        p.arrow(xy)
    p.text(160, 100, "how a search works", 12, SLATE, "mm")
    return p


def price_table() -> Paper:
    """A table of prices in a bakery."""
    p = Paper(300, 220)
    p.text(14, 9, "Bakery price list", 14, bold=True)
    rows = (
        ("Item", "Weight", "Price"),
        ("Rye bread", "750 g", "€ 4.20"),
        ("Baguette", "250 g", "€ 1.60"),
        ("Croissant", "60 g", "€ 1.40"),
        ("Apple pie", "900 g", "€ 9.50"),
        ("Pretzel", "85 g", "€ 1.10"),
        ("Cheesecake", "1.2 kg", "€ 14.00"),
    )
    for i, (item, weight, price) in enumerate(rows):
        y = 36 + i * 25
        p.box((14, y, 286, y + 25), NAVY if i == 0 else PALE if i % 2 else "white")
        colour = "white" if i == 0 else INK
        p.text(24, y + 12.5, item, 11, colour, "lm", i == 0)
        p.text(192, y + 12.5, weight, 11, colour, "rm", i == 0)
        p.text(276, y + 12.5, price, 11, colour, "rm", i == 0)
    p.box((14, 36, 286, 211), None, SLATE)
    return p


def friends_network() -> Paper:
    """A network graph of two groups of friends with one bridge between them."""
    p = Paper(320, 230, "#fbfbfd")
    at = {
        "Ana": (58, 58),
        "Bo": (44, 148),
        "Cem": (116, 190),
        "Dia": (128, 98),
        "Eli": (206, 120),
        "Fay": (262, 52),
        "Gil": (286, 138),
        "Hal": (222, 198),
    }
    links = "Ana-Bo Ana-Dia Bo-Cem Bo-Dia Cem-Dia Dia-Eli Eli-Fay Eli-Gil Eli-Hal Fay-Gil Gil-Hal Ana-Cem"
    for link in links.split():
        a, b = link.split("-")
        p.line((*at[a], *at[b]), CORAL if link == "Dia-Eli" else "#aab2bf", 3 if link == "Dia-Eli" else 1.5)
    for name, (x, y) in at.items():
        p.oval(x, y, 19, 19, TEAL if name in "Ana Bo Cem Dia" else "#3a6ea5", "white", 2)
        p.text(x, y, name, 11, "white", "mm", bold=True)
    return p


def house_and_tree() -> Paper:
    """A red house with a tree beside it under the sun."""
    p = Paper(320, 230)
    p.sky((124, 190, 240), (226, 242, 252), 172)
    p.box((0, 170, 320, 230), "#7fb85c")
    for i in range(12):
        t = math.tau * i / 12
        p.line(
            (270 + 30 * math.cos(t), 44 + 30 * math.sin(t), 270 + 40 * math.cos(t), 44 + 40 * math.sin(t)),
            "#f6c434",
            3,
        )
    p.oval(270, 44, 24, 24, "#f9cf3d")
    p.box((146, 62, 162, 98), "#8a5a44")
    p.box((62, 112, 182, 194), "#c8453b")
    p.shape((48, 114, 122, 58, 196, 114), "#6b3a2e")
    p.box((110, 146, 136, 194), "#5a3a24")
    p.oval(131, 171, 2, 2, SAND)
    for x in (74, 146):
        p.box((x, 128, x + 24, 152), "#d6ecf8", "white", 2.5)
        p.line((x + 12, 128, x + 12, 152), "white", 1.5)
        p.line((x, 140, x + 24, 140), "white", 1.5)
    p.shape((108, 194, 138, 194, 152, 230, 96, 230), "#d9c7a3")
    p.box((238, 140, 252, 200), "#7a5230")
    for x, y, r in ((228, 124, 27), (262, 126, 26), (245, 100, 30)):
        p.oval(x, y, r, r, "#3f8f4f")
    return p


def sailing_boat() -> Paper:
    """A sailing boat on the sea."""
    p = Paper(320, 230)
    p.sky((150, 205, 240), (240, 248, 252), 140)
    p.box((0, 138, 320, 230), "#1f6fa8")
    for x, y in ((52, 40), (74, 34), (96, 42), (118, 46)):
        p.oval(x, y, 18, 11, "white")
    p.box((154, 34, 158, 160), "#6b4a2e")
    p.shape((162, 40, 162, 146, 226, 146), "#fdfdfd")
    p.shape((150, 52, 150, 146, 100, 146), "#f2d7cf")
    p.shape((92, 156, 236, 156, 210, 186, 118, 186), "#b5382f")
    p.line((92, 157, 236, 157), "white", 3)
    p.shape((158, 34, 158, 46, 138, 40), CORAL)
    for y, shift in ((190, 0), (206, 16), (222, 4), (160, 250), (172, 8)):
        for x in range(-20 + shift, 320, 44):
            if not (y < 188 and 76 < x < 240):
                p.arc(x, y, 12, 5, 200, 340, "#8cc3e6", 2)
    return p


def mountains_at_night() -> Paper:
    """Mountains at night with the moon and stars."""
    p = Paper(320, 230)
    p.sky((10, 14, 44), (52, 62, 120), 230)
    for i in range(46):
        x, y = (i * 83.7 + 11) % 320, (i * 47.3 + 5) % 126
        r = 0.9 + (i % 3) * 0.5
        p.oval(x, y, r, r, "#fdf6d8")
    turns = [math.radians(40 + i * 5) for i in range(53)], [math.radians(300 - i * 5) for i in range(53)]
    outer = [v for t in turns[0] for v in (248 + 27 * math.cos(t), 54 + 27 * math.sin(t))]
    inner = [v for t in turns[1] for v in (257 + 21 * math.cos(t), 51 + 22 * math.sin(t))]
    p.shape((*outer, *inner), "#f7ecc0")
    p.shape((0, 230, 0, 160, 60, 96, 128, 176, 190, 112, 262, 190, 320, 140, 320, 230), "#3a4272")
    p.shape((0, 230, 40, 190, 112, 84, 196, 230), "#252b52")
    p.shape((112, 84, 92, 113, 104, 108, 112, 120, 122, 108, 129, 114), "#e8ecf6")
    p.shape((150, 230, 232, 122, 320, 230), "#1c2144")
    p.shape((232, 122, 215, 144, 226, 140, 233, 150, 241, 140, 250, 144), "#e8ecf6")
    return p


def cat() -> Paper:
    """An orange cat that sits and looks at us."""
    p = Paper(260, 260, "#eaf3ee")
    fur, dark, cream = "#e8923a", "#c4702a", "#fbe6cb"
    for i in range(61):  # the tail, a row of overlapping discs
        t = math.radians(110 - i * 2.9)
        p.oval(180 + 44 * math.cos(t), 196 + 42 * math.sin(t), 9, 9, dark if i > 48 else fur)
    p.oval(130, 190, 58, 60, fur)
    p.oval(130, 202, 32, 44, cream)
    for x in (104, 156):
        p.oval(x, 240, 20, 11, fur)
    for side in (-1, 1):
        p.shape((130 + side * 54, 34, 130 + side * 56, 92, 130 + side * 14, 62), fur)
        p.shape((130 + side * 48, 47, 130 + side * 49, 80, 130 + side * 25, 64), "#f3b7a5")
    p.oval(130, 98, 60, 50, fur)
    for dx in (-14, 0, 14):
        p.line((130 + dx, 54, 130 + dx * 0.7, 70), dark, 5)
    p.oval(130, 118, 30, 22, cream)
    for side in (-1, 1):
        p.oval(130 + side * 25, 94, 11, 12, "white")
        p.oval(130 + side * 25, 95, 7, 10, "#5b8c3a")
        p.oval(130 + side * 25, 95, 3, 9, "#1b1b1b")
        p.arc(130 + side * 8, 119, 8, 8, 0, 180, dark, 2)
        for dy in (-6, 2, 10):
            p.line((130 + side * 26, 116 + dy * 0.5, 130 + side * 78, 112 + dy * 1.4), "#7d5a3c", 1.3)
    p.shape((122, 107, 138, 107, 130, 117), "#d9606a")
    return p


def apple_and_cup() -> Paper:
    """A red apple beside a blue cup on a table."""
    p = Paper(320, 210, "#f6efe2")
    p.box((0, 146, 320, 210), "#c89b6c")
    p.line((0, 147, 320, 147), "#a97e52", 2)
    p.oval(94, 178, 50, 9, "#ad8458")
    for x in (76, 112):
        p.oval(x, 130, 34, 46, "#cc2f35")
    p.oval(94, 140, 40, 36, "#cc2f35")
    p.oval(70, 112, 8, 13, "#e77a78")
    p.line((94, 96, 98, 70), "#6b4a2e", 4)
    p.shape((99, 84, 112, 66, 136, 66, 122, 84), "#5c9a46")
    p.oval(222, 178, 52, 9, "#ad8458")
    p.arc(264, 120, 24, 24, -90, 100, "#2c62b4", 9)
    p.shape((176, 84, 264, 84, 254, 176, 186, 176), "#2c62b4")
    p.oval(220, 176, 34, 6, "#2c62b4")
    p.oval(220, 84, 44, 10, "#1e4684")
    p.oval(220, 86, 37, 7, "#4a2d1c")
    for x in (204, 222, 240):
        p.line([v for i in range(13) for v in (x + 4 * math.sin(i / 2), 68 - i * 3)], "#cfc6b8", 2.5)
    return p


def bicycle() -> Paper:
    """A green bicycle."""
    p = Paper(320, 210)
    p.line((10, 184, 310, 184), "#c9ced6", 3)
    for x in (86, 234):
        p.oval(x, 132, 50, 50, None, "#2b2e34", 5)
        for i in range(12):
            t = math.tau * i / 12
            p.line((x, 132, x + 46 * math.cos(t), 132 + 46 * math.sin(t)), "#b9bfc9", 1)
        p.oval(x, 132, 5, 5, "#2b2e34")
    frame = "#2f8f5b"
    p.line((86, 132, 124, 72, 206, 72, 152, 134, 86, 132), frame, 6)
    p.line((118, 56, 152, 134), frame, 6)
    p.line((200, 44, 234, 132), frame, 6)
    p.line((200, 44, 222, 38, 228, 48), "#2b2e34", 5)
    p.shape((98, 50, 138, 50, 132, 60, 110, 60), "#2b2e34")
    p.oval(152, 134, 13, 13, None, "#2b2e34", 4)
    p.line((152, 134, 164, 156, 174, 156), "#2b2e34", 4)
    return p


def page_of_text() -> Paper:
    """A page of text about bees, with a heading."""
    p = Paper(230, 310, "#fffefb")
    p.text(22, 20, "How bees make honey", 14, bold=True)
    p.line((22, 42, 208, 42), SAND, 2)
    text = (
        "A bee visits many flowers on one trip|and carries their nectar home in a|stomach of its own. In the hive it is|passed from bee to bee.||"
        "Water leaves the nectar while the bees|fan it with their wings. After a few|days it has become thick and sweet.||"
        "The bees close each cell of the comb|with wax. A strong colony can store|more than twenty kilos of honey in one|summer and lives on it in winter.||"
        "A beekeeper takes only a part of the|honey, for the hive needs the rest."
    )
    for i, line in enumerate(text.split("|")):
        p.text(22, 54 + i * 14.6, line, 9.3)
    p.text(115, 288, "1", 9, SLATE, "ma")
    return p


def calendar() -> Paper:
    """A calendar page of October with one day marked."""
    p = Paper(280, 240, "#eef1f5")
    p.box((20, 16, 260, 228), "white", GRID, 1, 10)
    p.box((20, 16, 260, 58), CORAL, round_=10)
    p.box((20, 40, 260, 58), CORAL)
    p.text(140, 37, "October", 18, "white", "mm", bold=True)
    for x in (70, 210):
        p.box((x - 4, 8, x + 4, 26), SLATE, round_=4)
    for i, day in enumerate(("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")):
        p.text(44 + i * 32, 72, day, 10, SLATE, "mm", bold=True)
    for date in range(1, 32):
        row, column = divmod(date + 2, 7)
        x, y = 44 + column * 32, 96 + row * 27
        if date == 17:
            p.oval(x, y, 12, 12, TEAL)
        p.text(x, y, str(date), 11, "white" if date == 17 else CORAL if column > 4 else INK, "mm", date == 17)
    return p


DRAWINGS: tuple[Callable[[], Paper], ...] = (
    rainfall_bars,
    temperature_line,
    energy_pie,
    search_pipeline,
    price_table,
    friends_network,
    house_and_tree,
    sailing_boat,
    mountains_at_night,
    cat,
    apple_and_cup,
    bicycle,
    page_of_text,
    calendar,
)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for drawing in DRAWINGS:
        drawing().save(drawing.__name__.replace("_", "-"))
    sizes = [path.stat().st_size for path in PICTURES.glob("*.png")]
    print(f"{len(sizes)} pictures in {PICTURES}, {sum(sizes) / 1000:.0f} kB")
