"""An unlimited supply of captioned drawings: charts, tables, diagrams, pages, code, maps, objects and scenes.

`draw(seed)` gives the same pixels and captions in every process. The captions are true of the drawing and go
from general to detailed, so that an image encoder trained on them learns to read pictures as well as name them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from PIL import Image

from unbraid.distill.scenes import (
    COLOURS,
    Colour,
    Font,
    Sheet,
    article,
    font,
    jitter,
    listing,
    one_object,
    scene,
    shade,
    shapes,
    some_objects,
)


@dataclass(frozen=True)
class Drawing:
    """An RGB image of 200 to 300 pixels on its longer side, and true captions, the most general first."""

    image: Image.Image
    captions: tuple[str, ...]
    kind: str


def _pairs(text: str) -> dict[str, str]:
    """The entries "key: value" of a text that are parted by semicolons."""
    pairs = (entry.split(":") for entry in text.replace("\n", " ").split(";"))
    return {key.strip(): value.strip() for key, value in pairs}


# what is measured: its unit ("n" for a plain count)
MEASURES = _pairs("""
rainfall: mm; temperature: °C; sales: k$; revenue: M$; profit: k$; visitors: k; population: M;
energy use: GWh; web traffic: k; website latency: ms; memory use: MB; error rate: %; unemployment: %;
inflation: %; house prices: k$; rent: $; exports: t; imports: t; crop yield: t; wheat harvest: t;
fish catch: t; water level: m; snowfall: cm; wind speed: km/h; humidity: %; air pollution: ppm;
carbon emissions: Mt; electricity price: ct; oil price: $; stock price: $; budget: k$; expenses: k$;
tax income: M$; downloads: k; subscribers: k; page views: k; newsletter sign-ups: n;
support tickets: n; defects: n; orders: n; returns: n; shipping cost: $; patients: n; hospital beds: n;
vaccinations: k; births: n; heart rate: bpm; weight: kg; height: cm; calories: kcal; steps walked: k;
hours of sleep: h; exam scores: pts; students: n; books read: n; library loans: n; goals scored: n;
race times: s; ticket sales: k; tourism: k; hotel bookings: n; flights: n; train passengers: k;
traffic accidents: n; car sales: k; bicycle trips: k; coffee consumption: kg; tea exports: t;
sugar intake: g; milk production: kl; wine production: hl; forest area: km²; bird sightings: n;
bee colonies: n; earthquakes: n; solar output: kW; battery charge: %; accuracy: %; training loss: nats;
throughput: rps; customer satisfaction: pts; survey answers: n; wages: $; working hours: h;
job openings: n
""")
# what it is split by: the names
CATEGORIES = {
    "month": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "weekday": "Mon Tue Wed Thu Fri Sat Sun",
    "quarter": "Q1 Q2 Q3 Q4",
    "season": "spring summer autumn winter",
    "city": "Paris London Tokyo Cairo Lima Oslo Rome Delhi Berlin Madrid Nairobi Sydney Toronto Seoul",
    "country": "France Spain India Brazil Kenya Japan Norway Egypt Chile Canada Italy Peru Ghana Poland",
    "fruit": "apples pears plums grapes lemons cherries mangos bananas",
    "animal": "cats dogs birds fish horses rabbits cows sheep",
    "department": "sales support design legal finance research marketing",
    "sport": "football tennis swimming running cycling rowing hockey",
    "subject": "maths history physics art music biology chemistry",
    "energy source": "coal gas wind solar hydro nuclear oil",
    "vehicle": "cars buses trains bikes trucks planes ships",
    "programming language": "Python Java Rust Go C Ruby Swift",
    "product": "shoes hats shirts coats bags socks watches",
    "drink": "coffee tea water juice milk wine beer",
    "age group": "0-9 10-19 20-29 30-39 40-49 50-59 60+",
    "team": "red blue green gold north south",
    "crop": "wheat rice maize barley oats soy potatoes",
    "expense": "rent food travel health clothes leisure savings",
}
_FULL = _pairs("""
Jan: January; Feb: February; Mar: March; Apr: April; May: May; Jun: June; Jul: July; Aug: August;
Sep: September; Oct: October; Nov: November; Dec: December; Mon: Monday; Tue: Tuesday; Wed: Wednesday;
Thu: Thursday; Fri: Friday; Sat: Saturday; Sun: Sunday
""")
# what a page, a diagram or a network is about: the words that belong to it
_TOPICS = """
volcanoes: lava ash magma crater eruption rock; gardening: soil seed plant water compost shed;
cooking: recipe oven salt butter flour pan; astronomy: planet star orbit telescope galaxy comet;
banking: account loan interest deposit credit transfer;
medicine: doctor patient dose clinic nurse symptom; football: goal match player referee league pass;
sailing: wind sail anchor harbour rudder crew; machine learning: data model training loss batch label;
search engines: query index crawler ranking document link;
online shopping: basket order payment parcel customer refund;
history of Rome: emperor senate legion road temple law;
climate change: carbon warming glacier ocean policy forest; bees: hive honey pollen queen flower swarm;
chess: king queen rook pawn opening mate; music theory: note chord scale rhythm melody key;
photography: lens light camera shutter focus print;
railways: station track signal ticket platform engine; bread baking: dough yeast oven crust flour loaf;
databases: table row key query index backup; software testing: unit test build release bug report;
network security: firewall server password attack packet log;
dinosaurs: fossil bone egg tail predator herd; coffee: bean roast grinder cup aroma filter;
space travel: rocket launch crew capsule orbit landing;
human heart: blood valve artery pulse vein muscle; solar energy: panel battery sun inverter grid roof;
libraries: book shelf reader loan catalogue archive; oceans: wave tide coral whale current salt;
language learning: word grammar lesson teacher accent practice;
job applications: letter interview salary employer skill offer;
weather: cloud storm front wind pressure rain; architecture: arch column tower beam window roof;
butterflies: wing caterpillar cocoon leaf pattern garden;
farming: field tractor harvest barn cow fence; travel plans: flight hotel map museum passport train;
school rules: pupil homework break lesson uniform teacher;
healthy eating: fruit vegetable protein sugar meal vitamin;
electric cars: battery charger motor range brake plug;
contracts: party clause payment term notice liability;
user accounts: login password profile email session logout;
hiring: advert screening interview offer contract start;
water cycle: evaporation cloud rain river sea vapour;
manufacturing: order material machine inspection packing delivery;
chemistry: acid base salt reaction molecule flask; philosophy: mind truth reason ethics self knowledge
"""
TOPICS = {topic: words.split() for topic, words in _pairs(_TOPICS).items()}


@dataclass(frozen=True)
class _Plot:
    """The inner rectangle of a chart and the fonts around it."""

    x0: float
    y0: float
    x1: float
    y1: float
    small: Font
    top: float

    def y(self, value: float) -> float:
        """Height of `value` on an axis from 0 to `top`."""
        return self.y1 - value / self.top * (self.y1 - self.y0)


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _name(label: str) -> str:
    return _FULL.get(label, label)


def _title(sheet: Sheet, text: str) -> float:
    """Write a title, if the drawing gets one; the y under it."""
    rng, (w, _) = sheet.rng, sheet.size
    if rng.random() < 0.12:
        return 10
    size = rng.randint(11, 16)
    while size > 8 and len(text) * size * 0.58 > w - 8:
        size -= 1
    style = font(size, rng.choice(["bold", "sans", "bold", "serif"]))
    if rng.random() < 0.75:
        sheet.write(w / 2, 5, text, style, "ma")
    else:
        sheet.write(8, 5, text, style, "la")
    return 5 + size * 1.4 + 4


def _axes(
    sheet: Sheet, title: str, top: float, unit: str = "", *, left: float = 0, legend: float = 0
) -> _Plot:
    """Draw title, axes, ticks and perhaps a grid for values from 0 to `top`."""
    rng, (w, h) = sheet.rng, sheet.size
    small = font(rng.randint(8, 10))
    y0, x0, x1, y1 = _title(sheet, title), left or 30, w - 8 - legend, h - 20
    if unit and unit != "n" and not left:
        sheet.write(4, y0, unit, small, "la")
        y0 += 12
    plot = _Plot(x0, y0, x1, y1, small, top)
    grid, faint = rng.random() < 0.5, shade(sheet.ink, -0.65 if sheet.is_dark else 0.82)
    steps = rng.randint(3, 6)
    for i in range(steps + 1 if not left else 0):
        y = plot.y(top * i / steps)
        if grid and i:
            sheet.pen.line((x0, y, x1, y), fill=faint)
        sheet.write(
            x0 - 4, y, f"{top * i / steps:.0f}" if top >= 8 else f"{top * i / steps:.1f}", small, "rm"
        )
    sheet.pen.line((x0, y0, x0, y1), fill=sheet.ink)
    sheet.pen.line((x0, y1, x1, y1), fill=sheet.ink)
    if rng.random() < 0.2:
        sheet.pen.rectangle((x0, y0, x1, y1), outline=sheet.ink)
    return plot


def _legend(sheet: Sheet, plot: _Plot, names: Sequence[str], paints: Sequence[Colour]) -> None:
    for i, (name, paint) in enumerate(zip(names, paints, strict=True)):
        y = plot.y0 + 6 + i * 14
        sheet.pen.rectangle((plot.x1 + 6, y, plot.x1 + 14, y + 8), fill=paint)
        sheet.write(plot.x1 + 17, y + 4, name[:9], plot.small, "lm")


def _labels(rng: Random, kind: str, least: int, most: int) -> list[str]:
    """Names of one category: a sample, or a run where they have an order."""
    names = CATEGORIES[kind].split()
    n = min(rng.randint(least, most), len(names))
    if kind in {"quarter", "season"}:
        return names
    if kind in {"month", "weekday", "age group"}:
        start = rng.randint(0, len(names) - n)
        return names[start : start + n]
    return rng.sample(names, n)


def _measure(rng: Random) -> tuple[str, str]:
    return rng.choice(list(MEASURES.items()))


def _headline(rng: Random, measure: str, by: str) -> str:
    text = rng.choice([f"{measure} by {by}", f"{measure} by {by}", measure, f"{measure} per {by}"])
    return _upper(text)


def _values(rng: Random, n: int, top: float) -> list[float]:
    """Bar heights with one clear winner and one clear loser."""
    values = [rng.uniform(0.25, 0.8) * top for _ in range(n)]
    high, low = rng.sample(range(n), 2)
    values[high], values[low] = rng.uniform(0.88, 0.98) * top, rng.uniform(0.08, 0.2) * top
    return values


def _scale(rng: Random) -> float:
    return rng.choice([1, 2, 5, 10, 20, 40, 60, 100, 150, 200, 400, 500, 800, 1000])


def bar_chart(sheet: Sheet) -> list[str]:
    """Draw vertical, horizontal or grouped bars."""
    rng = sheet.rng
    (measure, unit), by, top = _measure(rng), rng.choice(list(CATEGORIES)), _scale(rng)
    word = rng.choice(["bar chart", "bar chart", "bar graph"])
    title = _headline(rng, measure, by)
    form = rng.choice(["vertical", "vertical", "horizontal", "grouped"])
    labels = _labels(rng, by, 3, 5 if form == "grouped" else 8)
    of = f"{measure} by {by}"
    if form == "grouped":
        return _grouped_bars(sheet, title, labels, top, unit, of, word)
    values = _values(rng, len(labels), top)
    named = (
        sheet.colours(len(labels))[: len(labels)]
        if len(labels) < 8 and rng.random() < 0.3
        else sheet.colours(1)
    )
    paints = [paint for _, paint in named]
    gap, n = rng.uniform(0.1, 0.45), len(labels)
    numbers, outline = rng.random() < 0.3, sheet.ink if rng.random() < 0.2 else None
    plot = _axes(sheet, title, top, unit, left=58 if form == "horizontal" else 0)
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        paint = paints[i % len(paints)]
        if form == "horizontal":
            step = (plot.y1 - plot.y0) / n
            y, x = plot.y0 + (i + gap / 2) * step, plot.x0 + value / top * (plot.x1 - plot.x0)
            sheet.pen.rectangle((plot.x0 + 1, y, x, y + step * (1 - gap)), fill=paint, outline=outline)
            sheet.write(plot.x0 - 4, y + step * (1 - gap) / 2, label[:9], plot.small, "rm")
        else:
            step = (plot.x1 - plot.x0) / n
            x, y = plot.x0 + (i + gap / 2) * step, plot.y(value)
            sheet.pen.rectangle((x, y, x + step * (1 - gap), plot.y1 - 1), fill=paint, outline=outline)
            sheet.write(
                x + step * (1 - gap) / 2, plot.y1 + 4, label[: max(2, int(step / 6.5))], plot.small, "ma"
            )
            if numbers:
                sheet.write(x + step * (1 - gap) / 2, y - 2, f"{value:.0f}", font(8), "mb")
    order = sorted(range(n), key=values.__getitem__)
    low, high = _name(labels[order[0]]), _name(labels[order[-1]])
    colour = "multicoloured" if len(named) > 1 else named[0][0]
    return [
        article(word),
        f"{article(word)} of {of}",
        f"a {form} {word} of {measure} with {n} {colour} bars",
        f"{article(word)} of {of} in which {high} is the highest"
        + rng.choice(["", f" and {low} the lowest"]),
        f"{article(word)} comparing {measure} for {listing([_name(k) for k in labels[:4]])}"
        + (" and others" if n > 4 else ""),
    ]


def _grouped_bars(
    sheet: Sheet, title: str, labels: list[str], top: float, unit: str, of: str, word: str
) -> list[str]:
    rng = sheet.rng
    sets = rng.choice(
        [
            ["2023", "2024"],
            ["men", "women"],
            ["before", "after"],
            ["2022", "2023", "2024"],
            ["plan", "actual"],
        ]
    )
    named, stacked = sheet.colours(len(sets)), rng.random() < 0.35
    plot = _axes(sheet, title, top, unit, legend=52)
    step, m = (plot.x1 - plot.x0) / len(labels), len(sets)
    for i, label in enumerate(labels):
        base = plot.y1 - 1
        for j, (_, paint) in enumerate(named):
            value = rng.uniform(0.15, 0.95) * top / (m if stacked else 1)
            if stacked:
                y = base - (plot.y1 - plot.y(value))
                sheet.pen.rectangle(
                    (plot.x0 + (i + 0.2) * step, y, plot.x0 + (i + 0.8) * step, base), fill=paint
                )
                base = y
            else:
                x = plot.x0 + (i + 0.12 + 0.76 * j / m) * step
                sheet.pen.rectangle((x, plot.y(value), x + 0.76 * step / m - 1, base), fill=paint)
        sheet.write(
            plot.x0 + (i + 0.5) * step, plot.y1 + 4, label[: max(2, int(step / 6.5))], plot.small, "ma"
        )
    _legend(sheet, plot, sets, [paint for _, paint in named])
    kind = "stacked" if stacked else "grouped"
    return [
        article(word),
        f"a {kind} {word} of {of}",
        f"a {kind} {word} of {of} for {listing(sets)}",
        f"a {kind} {word} with {listing([k for k, _ in named])} bars and a legend",
    ]


_STAFF = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo")
_VERBS = ("get", "load", "parse", "count", "find", "update", "save", "check", "sort", "merge")
_TRENDS: dict[str, Callable[[float], float]] = {
    "rising": lambda t: 0.15 + 0.7 * t,
    "falling": lambda t: 0.85 - 0.7 * t,
    "rising faster and faster": lambda t: 0.1 + 0.8 * t**3,
    "with a peak in the middle": lambda t: 0.15 + 0.7 * math.exp(-(((t - 0.5) / 0.16) ** 2)),
    "with a dip in the middle": lambda t: 0.85 - 0.65 * math.exp(-(((t - 0.5) / 0.18) ** 2)),
    "going up and down in waves": lambda t: 0.5 + 0.33 * math.sin(t * 6 * math.pi),
    "staying flat": lambda t: 0.5,
    "rising and then falling": lambda t: 0.15 + 0.7 * math.sin(t * math.pi),
    "falling and then rising": lambda t: 0.85 - 0.7 * math.sin(t * math.pi),
    "levelling off": lambda t: 0.1 + 0.75 * (1 - math.exp(-4 * t)),
    "dropping suddenly": lambda t: 0.8 if t < 0.55 else 0.2,
}


def line_chart(sheet: Sheet) -> list[str]:
    """Draw one to three series over time, each with a trend."""
    rng = sheet.rng
    (measure, unit), top = _measure(rng), _scale(rng)
    over = rng.choice(["month", "year", "weekday", "hour", "week"])
    ticks = {
        "month": CATEGORIES["month"].split(),
        "weekday": CATEGORIES["weekday"].split(),
        "hour": [str(i) for i in range(0, 25, 4)],
        "week": [str(i) for i in range(1, 11)],
    }.get(over) or [str(rng.randint(1960, 2018) + i) for i in range(7)]
    word, n = rng.choice(["line chart", "line chart", "line graph"]), rng.choice([1, 1, 1, 2, 3])
    area = n == 1 and rng.random() < 0.2
    if area:
        word = "area chart"
    names = _labels(rng, rng.choice(["city", "country", "product", "team", "animal"]), n, n) if n > 1 else []
    trends, named = rng.sample(list(_TRENDS), n), sheet.colours(n)
    if over == "year":
        ticks = [str(int(ticks[0]) + i * 2) for i in range(7)]
    plot = _axes(sheet, _headline(rng, measure, over), top, unit, legend=52 if n > 1 else 0)
    count = rng.choice([len(ticks), 30, 50])
    noise, width, marks = rng.choice([0, 0.01, 0.03]), rng.randint(1, 4), rng.random() < 0.35 and count < 20
    for (_, paint), trend in zip(named, trends, strict=True):
        f = _TRENDS[trend]
        points = []
        for i in range(count):
            t = i / (count - 1)
            points.append(
                (
                    plot.x0 + 3 + t * (plot.x1 - plot.x0 - 6),
                    plot.y(top * min(0.98, max(0.02, f(t) + rng.gauss(0, noise)))),
                )
            )
        if area:
            sheet.pen.polygon(
                [(points[0][0], plot.y1), *points, (points[-1][0], plot.y1)], fill=shade(paint, 0.35)
            )
        sheet.pen.line(points, fill=paint, width=width, joint="curve")
        for x, y in points if marks else ():
            sheet.pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=paint)
    every = max(1, math.ceil(len(ticks) * 24 / (plot.x1 - plot.x0)))
    for i in range(0, len(ticks), every):
        sheet.write(
            plot.x0 + 3 + i / (len(ticks) - 1) * (plot.x1 - plot.x0 - 6),
            plot.y1 + 4,
            ticks[i],
            plot.small,
            "ma",
        )
    captions = [article(word), f"{article(word)} of {measure}", f"{article(word)} of {measure} by {over}"]
    if n == 1:
        captions += [
            f"{article(word)} of {measure} {trends[0]}",
            f"{article(word)} with {article(named[0][0])} line showing {measure} {trends[0]} over the {over}s",
        ]
    else:
        _legend(sheet, plot, names, [paint for _, paint in named])
        captions += [
            f"{article(word)} of {measure} for {listing(names)}",
            f"{article(word)} with {n} lines, {listing([f'{c[0]} {t}' for c, t in zip(named, trends, strict=True)])}",
        ]
    return captions


def scatter_plot(sheet: Sheet) -> list[str]:
    """Draw points with a correlation or in clusters."""
    rng = sheet.rng
    a, b = rng.sample(list(MEASURES), 2)
    word = rng.choice(["scatter plot", "scatter plot", "scatter chart"])
    form = rng.choice(["positive", "negative", "no", "clusters"])
    plot = _axes(sheet, _upper(f"{a} and {b}"), _scale(rng))
    sheet.write((plot.x0 + plot.x1) / 2, plot.y1 + 4, a, plot.small, "ma")
    k = rng.randint(2, 4) if form == "clusters" else 1
    named, r, hollow = sheet.colours(k), rng.choice([1.5, 2, 3, 4]), rng.random() < 0.2
    corners = rng.sample([(0.2, 0.25), (0.78, 0.25), (0.22, 0.78), (0.78, 0.8), (0.5, 0.5)], k)
    for i in range(rng.randint(40, 110)):
        if form == "clusters":
            x, y = (rng.gauss(m, 0.07) for m in corners[i % k])
        else:
            x = rng.random()
            y = (
                rng.random()
                if form == "no"
                else rng.gauss(0.1 + 0.8 * (x if form == "positive" else 1 - x), 0.07)
            )
        x, y = (min(0.98, max(0.02, v)) for v in (x, y))
        px, py = plot.x0 + x * (plot.x1 - plot.x0), plot.y1 - y * (plot.y1 - plot.y0)
        paint = named[i % k][1]
        sheet.pen.ellipse((px - r, py - r, px + r, py + r), fill=None if hollow else paint, outline=paint)
    count = ("", "", "two", "three", "four")[k]
    shown = {
        "positive": f"a positive correlation: {b} rises with {a}",
        "negative": f"a negative correlation: {b} falls as {a} rises",
        "no": f"no correlation between {a} and {b}",
        "clusters": f"{count} clusters of points",
    }[form]
    colours = listing([name for name, _ in named])
    return [
        article(word),
        f"{article(word)} of {a} and {b}",
        f"{article(word)} showing {shown}",
        f"{article(word)} with {colours} points, {shown.split(':')[0]}",
    ]


def pie_chart(sheet: Sheet) -> list[str]:
    """Draw a pie or a donut with one largest share."""
    rng, (w, h) = sheet.rng, sheet.size
    by, donut = rng.choice(list(CATEGORIES)), rng.random() < 0.35
    measure = _measure(rng)[0]
    labels = _labels(rng, by, 3, 6)[:7]
    word = (
        rng.choice(["donut chart", "ring chart"])
        if donut
        else rng.choice(["pie chart", "pie chart", "pie graph"])
    )
    y0 = _title(sheet, rng.choice([f"Share of {measure} by {by}", _upper(f"{measure} by {by}")]))
    named = sheet.colours(len(labels))
    parts = [rng.uniform(0.4, 1) for _ in labels]
    big = rng.randrange(len(labels))
    parts[big] = rng.choice([1.6, 2.5, sum(parts) * 1.3])
    total, start = sum(parts), rng.uniform(0, 360)
    legend = rng.random() < 0.5 and w > 170
    r = min((w - (74 if legend else 8)) / 2, (h - y0 - 6) / 2) * rng.uniform(0.85, 1)
    cx, cy = (w - (70 if legend else 0)) / 2, (y0 + h) / 2
    edge, small = (sheet.paper if rng.random() < 0.6 else None), font(9)
    for i, (label, part, (_, paint)) in enumerate(zip(labels, parts, named, strict=True)):
        end = start + 360 * part / total
        sheet.pen.pieslice(
            (cx - r, cy - r, cx + r, cy + r), start, end, fill=paint, outline=edge, width=2 if edge else 1
        )
        middle = math.radians((start + end) / 2)
        if legend:
            y = y0 + 8 + i * 15
            sheet.pen.rectangle((w - 66, y, w - 57, y + 9), fill=paint)
            sheet.write(w - 53, y + 4, label[:9], small, "lm")
        else:
            dark = sum(paint) < 380
            far = r * (0.78 if donut else 0.65)
            sheet.write(
                cx + far * math.cos(middle),
                cy + far * math.sin(middle),
                label[:8],
                small,
                "mm",
                (255, 255, 255) if dark else (20, 20, 20),
            )
        start = end
    if donut:
        q = r * rng.uniform(0.45, 0.6)
        sheet.pen.ellipse((cx - q, cy - q, cx + q, cy + q), fill=sheet.paper)
    most = " with more than half of the total" if parts[big] > total / 2 else ""
    return [
        article(word),
        f"{article(word)} of {measure} by {by}",
        f"{article(word)} in which {_name(labels[big])} has the largest share{most}",
        f"{article(word)} with {len(labels)} slices: {listing([_name(k) for k in labels])}",
        f"{article(word)} with a large {named[big][0]} slice",
    ]


def histogram(sheet: Sheet) -> list[str]:
    """Draw the distribution of one measure."""
    rng = sheet.rng
    measure = _measure(rng)[0]
    forms: dict[str, Callable[[float], float]] = {
        "bell-shaped": lambda t: math.exp(-(((t - 0.5) / 0.2) ** 2)),
        "skewed to the right with a long tail": lambda t: t**0.8 * math.exp(-7 * t) * 14,
        "with two peaks": lambda t: (
            math.exp(-(((t - 0.25) / 0.1) ** 2)) + 0.8 * math.exp(-(((t - 0.75) / 0.1) ** 2))
        ),
        "nearly uniform": lambda t: 0.75,
        "falling from left to right": lambda t: math.exp(-3.5 * t),
    }
    form = rng.choice(list(forms))
    bins, (colour, paint) = rng.randint(10, 26), sheet.colours(1)[0]
    heights = [max(0.01, forms[form]((i + 0.5) / bins) * rng.uniform(0.88, 1.1)) for i in range(bins)]
    scale = 0.95 / max(1.0, *heights)
    plot = _axes(
        sheet,
        rng.choice([f"Distribution of {measure}", _upper(measure)]),
        rng.choice([20, 50, 100, 200, 500]),
    )
    step, edge = (plot.x1 - plot.x0) / bins, shade(paint, -0.4) if rng.random() < 0.6 else sheet.paper
    for i, height in enumerate(heights):
        x, y = plot.x0 + i * step, min(plot.y1 - 1, plot.y(height * scale * plot.top))
        sheet.pen.rectangle((x, y, x + step, plot.y1 - 1), fill=paint, outline=edge)
    sheet.write((plot.x0 + plot.x1) / 2, plot.y1 + 4, measure, plot.small, "ma")
    return [
        "a histogram",
        f"a histogram of {measure}",
        f"a histogram of {measure}, {form}",
        f"a {colour} histogram showing a distribution that is {form}"
        if not form.startswith("with")
        else f"a {colour} histogram of a distribution {form}",
    ]


def table(sheet: Sheet) -> list[str]:
    """Draw a table of names and numbers."""
    rng, (w, h) = sheet.rng, sheet.size
    by = rng.choice(list(CATEGORIES))
    labels, heads = _labels(rng, by, 3, 9), rng.sample(list(MEASURES), rng.randint(1, 3))
    if rng.random() < 0.25:
        heads = ["price", *heads[1:]]
    y0 = _title(sheet, _upper(f"{heads[0]} by {by}"))
    n, m = len(labels) + 1, len(heads) + 1
    row = min(22, (h - y0 - 4) / n)
    size = max(8, min(11, int(row * 0.6)))
    column, x0 = (w - 12) / m, 6
    lines, stripe, (_, band) = rng.choice(["all", "rows", "none"]), rng.random() < 0.4, sheet.colours(1)[0]
    band = shade(band, -0.4 if sheet.is_dark else 0.55)
    if rng.random() < 0.7:
        sheet.pen.rectangle((x0, y0, w - 6, y0 + row), fill=band)
    faint = shade(sheet.ink, 0.55 if not sheet.is_dark else -0.5)
    for i in range(n):
        y = y0 + i * row
        if stripe and i and i % 2 == 0:
            sheet.pen.rectangle(
                (x0, y, w - 6, y + row), fill=shade(sheet.paper, 0.1 if sheet.is_dark else -0.07)
            )
        cells = (
            [by, *heads]
            if i == 0
            else [labels[i - 1], *(f"{rng.uniform(1, 999):.{rng.randint(0, 1)}f}" for _ in heads)]
        )
        for j, cell in enumerate(cells):
            style = font(size, "bold" if i == 0 else "sans")
            sheet.write(
                x0 + j * column + 4,
                y + row / 2,
                cell[: int((column - 4) / size / (0.7 if i == 0 else 0.6))],
                style,
                "lm",
            )
        if lines != "none" or i == 1:
            sheet.pen.line((x0, y, w - 6, y), fill=faint)
    bottom = y0 + n * row
    if lines != "none":
        sheet.pen.line((x0, bottom, w - 6, bottom), fill=faint)
    for j in range(m + 1) if lines == "all" else ():
        sheet.pen.line((x0 + j * column, y0, x0 + j * column, bottom), fill=faint)
    return [
        "a table",
        f"a table of {heads[0]} by {by}",
        f"a table with {len(labels)} rows and columns for {listing([by, *heads])}",
        f"a table of numbers for {listing([_name(k) for k in labels[:4]])}"
        + (" and others" if len(labels) > 4 else ""),
    ]


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


def _arrow(sheet: Sheet, x0: float, y0: float, x1: float, y1: float, width: int = 1, head: float = 7) -> None:
    sheet.pen.line((x0, y0, x1, y1), fill=sheet.ink, width=width)
    turn = math.atan2(y1 - y0, x1 - x0)
    tips = [(x1 - head * math.cos(turn + d), y1 - head * math.sin(turn + d)) for d in (-0.45, 0.45)]
    sheet.pen.polygon([(x1, y1), *tips], fill=sheet.ink)


def _subject(rng: Random) -> tuple[str, list[str]]:
    topic = rng.choice(list(TOPICS))
    return topic, rng.sample(TOPICS[topic], len(TOPICS[topic]))


def flow_diagram(sheet: Sheet) -> list[str]:
    """Draw boxes joined by arrows, down, across, in a bent row or in a circle."""
    rng, (w, h) = sheet.rng, sheet.size
    topic, words = _subject(rng)
    n = rng.randint(3, 6)
    y0 = _title(sheet, _upper(topic))
    ring = n > 3 and rng.random() < 0.25
    across = w > h * 1.1
    if ring:
        turns = [math.tau * i / n - math.pi / 2 for i in range(n)]
        at = [
            (w / 2 + (w / 2 - 36) * math.cos(t), (y0 + h) / 2 + ((h - y0) / 2 - 18) * math.sin(t))
            for t in turns
        ]
        bw, bh = 58.0, 24.0
    else:
        per = n if (not across and n < 6) or (across and n < 5) else math.ceil(n / 2)
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
    word = rng.choice(["flow diagram", "flow chart", "flowchart"])
    way = (
        "in a circle"
        if ring
        else "from left to right"
        if across and n < 5
        else "from top to bottom"
        if not across and n < 6
        else "in two rows"
        if across
        else "in two columns"
    )
    return [
        article(word),
        f"{article(word)} about {topic}",
        f"{article(word)} of {n} steps: {', '.join(words[:n])}",
        f"a diagram of boxes and arrows {way}",
        f"{article(word)} of {topic} from {words[0]} to {words[n - 1]}"
        if not ring
        else f"a cycle diagram of {topic}",
    ]


def tree_diagram(sheet: Sheet) -> list[str]:
    """Draw a hierarchy: one root, its children, perhaps theirs."""
    rng, (w, h) = sheet.rng, sheet.size
    staff = rng.random() < 0.4
    topic, words = ("a company", CATEGORIES["department"].split()) if staff else _subject(rng)
    root = rng.choice(["CEO", "director", "board"]) if staff else topic
    y0 = 8.0 if rng.random() < 0.6 else _title(sheet, _upper(topic))
    n = rng.randint(2, 4)
    deep = [rng.randint(0, 2) for _ in range(n)] if rng.random() < 0.7 else [0] * n
    levels = 3 if any(deep) else 2
    leaves = [max(1, d) for d in deep]
    ys = [y0 + (i + 0.5) * (h - y0 - 4) / levels for i in range(levels)]
    form, (name, paint) = rng.choice(["box", "rounded", "ellipse"]), sheet.colours(1)[0]
    filled = rng.random() < 0.7
    fill = shade(paint, 0.45) if filled else sheet.paper
    bw, bh = min(70, (w - 8) / sum(leaves) * 0.86), min(26, (h - y0) / levels * 0.5)
    boxes, used, third = [(w / 2, ys[0], root)], 0, 0
    spare = [k for other in rng.sample(list(TOPICS), 3) for k in TOPICS[other]] if not staff else list(_STAFF)
    for i in range(n):
        x = 4 + (used + leaves[i] / 2) * (w - 8) / sum(leaves)
        sheet.pen.line(
            (w / 2, ys[0], w / 2, (ys[0] + ys[1]) / 2, x, (ys[0] + ys[1]) / 2, x, ys[1]), fill=sheet.ink
        )
        boxes.append((x, ys[1], words[i]))
        for j in range(deep[i]):
            xx = 4 + (used + j + 0.5) * (w - 8) / sum(leaves)
            sheet.pen.line((x, ys[1], xx, ys[2]), fill=sheet.ink)
            boxes.append((xx, ys[2], spare[third]))
            third += 1
        used += leaves[i]
    for x, y, text in boxes:
        _box(sheet, x, y, 84 if text == root else bw, bh, text, fill, form)
    word = (
        "organisation chart" if staff else rng.choice(["tree diagram", "hierarchy diagram", "tree diagram"])
    )
    return [
        article(word),
        f"{article(word)} of {topic}",
        f"{article(word)} with {root} at the top and {n} branches: {listing(words[:n])}",
        f"a hierarchy with {levels} levels"
        + (f" drawn with {name} boxes" if filled and form != "ellipse" else ""),
    ]


def network_graph(sheet: Sheet) -> list[str]:
    """Draw nodes joined by edges."""
    rng, (w, h) = sheet.rng, sheet.size
    topic, words = _subject(rng)
    y0 = 6.0 if rng.random() < 0.7 else _title(sheet, _upper(topic))
    form = rng.choice(["random", "star", "ring"])
    n = rng.randint(6, 16)
    cx, cy = w / 2, (y0 + h) / 2
    rx, ry = w / 2 - 18, (h - y0) / 2 - 16
    if form == "random":
        cells = rng.sample([(i, j) for i in range(5) for j in range(4)], n)
        at = [
            (
                10 + (i + rng.uniform(0.2, 0.8)) * (w - 20) / 5,
                y0 + (j + rng.uniform(0.2, 0.8)) * (h - y0 - 6) / 4,
            )
            for i, j in cells
        ]
        links = {
            (min(i, j), max(i, j))
            for i in range(n)
            for j in sorted(range(n), key=lambda k: math.dist(at[i], at[k]))[1 : rng.randint(2, 4)]
        }
    else:
        turns = [math.tau * i / (n - (form == "star")) for i in range(n - (form == "star"))]
        at = [(cx, cy)] * (form == "star") + [(cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in turns]
        links = (
            {(0, i) for i in range(1, n)}
            if form == "star"
            else {(i, (i + 1) % n) for i in range(n)}
            | {(rng.randrange(n), rng.randrange(n)) for _ in range(n // 2)}
        )
    named = sheet.colours(rng.randint(1, 3))
    r, labelled, line = (
        rng.uniform(5, 10),
        rng.random() < 0.6,
        shade(sheet.ink, 0.4 if not sheet.is_dark else -0.3),
    )
    for i, j in sorted(links):
        sheet.pen.line((*at[i], *at[j]), fill=line, width=rng.randint(1, 2))
    for i, (x, y) in enumerate(at):
        big = r * (1.7 if form == "star" and i == 0 else 1)
        sheet.pen.ellipse(
            (x - big, y - big, x + big, y + big), fill=named[i % len(named)][1], outline=sheet.ink
        )
        if labelled and i < len(words):
            sheet.write(x, y + big + 1, words[i], font(8), "ma")
    shape = {"random": "", "star": " with one node in the middle", "ring": " arranged in a circle"}[form]
    captions = [
        "a network graph",
        f"a network graph of {n} nodes and edges{shape}",
        f"a graph with {listing([k for k, _ in named])} nodes joined by lines",
    ]
    return [*captions, f"a network of words about {topic}: {listing(words[:4])}"] if labelled else captions


_SENTENCES = (
    "The {a} is part of every {b}.",
    "Without a {a} there is no {b}, and the {c} waits.",
    "A good {a} needs time.",
    "Many people first learn about the {a} and then the {b}.",
    "It begins with the {a}.",
    "In the past the {b} was rare; now each {c} has one.",
    "See the notes on {a} and {b} below.",
    "How the {a} changes the {c} is still an open question.",
    "Experts agree that the {b} matters more than the {a}.",
)


def page(sheet: Sheet) -> list[str]:
    """Draw a page of text with a heading, perhaps in two columns, with a list or a picture box."""
    rng, (w, h) = sheet.rng, sheet.size
    topic, words = _subject(rng)
    face, size, margin = (
        rng.choice(["sans", "serif", "serif"]),
        rng.choice([7, 8, 8, 9, 10, 12]),
        rng.randint(10, 24),
    )
    heading = _upper(
        rng.choice([topic, f"about {topic}", f"notes on {topic}", f"an introduction to {topic}"])
    )
    big = max(7, min(rng.randint(15, 24), int((w - 2 * margin) / len(heading) / 0.58)))
    middle = rng.random() < 0.4
    accent = sheet.colours(1)[0][1] if rng.random() < 0.3 else None
    sheet.write(
        w / 2 if middle else margin,
        8,
        heading,
        font(big, "bold" if face == "sans" or rng.random() < 0.5 else "serif"),
        "ma" if middle else "la",
        accent,
    )
    y0 = 8 + big * 1.6
    text = " ".join(
        rng.choice(_SENTENCES).format(a=rng.choice(words), b=rng.choice(words), c=rng.choice(words))
        for _ in range(60)
    )
    columns = 2 if w > 180 and rng.random() < 0.3 else 1
    width = (w - 2 * margin - (columns - 1) * 12) / columns
    chars = max(8, int(width / size / 0.54))
    bullets = columns == 1 and rng.random() < 0.25
    figure = columns == 1 and not bullets and rng.random() < 0.25
    if figure:
        sheet.pen.rectangle(
            (w - margin - width * 0.4, y0, w - margin, y0 + h * 0.28), fill=sheet.colours(1)[0][1]
        )
    style, queue = font(size, face), text.split()
    shown = ""
    for column in range(columns):
        x, y, left = margin + column * (width + 12), y0, rng.randint(4, 9)
        while y < h - size - 4:
            limit = int(chars * 0.56) if figure and y < y0 + h * 0.28 + size else chars - 2 * bullets
            line: list[str] = []
            while queue and len(" ".join([*line, queue[0]])) <= limit:
                line.append(queue.pop(0))
            if not line:
                break
            left -= 1
            if left == 0:  # the short last line of a paragraph
                line = line[: len(line) // 2 + 1]
            if bullets and left % 2:
                sheet.pen.ellipse((x, y + size * 0.4, x + 3, y + size * 0.4 + 3), fill=sheet.ink)
            sheet.write(x + 8 * bullets, y, " ".join(line), style, "la")
            shown += " ".join(line) + " "
            y += size * 1.35
            if left == 0:
                y, left = y + size * 0.8, rng.randint(3, 8)
    layout = (
        "in two columns"
        if columns == 2
        else "with a bullet list"
        if bullets
        else "beside a coloured picture box"
        if figure
        else "in one column"
    )
    word = rng.choice(["page of text", "page of text", "text document", "printed page"])
    said = [k for k in words if k in shown][:2]
    captions = [
        article(word),
        f"{article(word)} about {topic}",
        f'{article(word)} with the heading "{heading}"',
        f"a document {layout} on {topic}" + (f" that mentions {listing(said)}" if said else ""),
    ]
    return [*captions, f"{article(word)}, light letters on a dark background"] if sheet.is_dark else captions


_CODE = {
    "Python": """
def {f}({a}, {b}):
    if {a} is None:
        return {b}
    for {c} in {a}:
        {b} += {c}
    return {b}

class {F}:
    def __init__(self, {a}):
        self.{a} = {a}

import {c}
with open({a}) as f:
    {b} = f.read()
    print({b})
try:
    {f}({c})
except ValueError:
    raise""",
    "JavaScript": """
function {f}({a}, {b}) {{
  if (!{a}) {{
    return {b};
  }}
  const {c} = {a}.map(x => x + 1);
  return {c};
}}

export default {f};
let {b} = new Map();
for (const x of {a}) {{
  console.log(x);
}}
async function get() {{
  await fetch({c});
}}""",
    "Rust": """
fn {f}({a}: &str) -> u32 {{
    let mut {b} = 0;
    for c in {a}.chars() {{
        {b} += 1;
    }}
    {b}
}}

struct {F} {{
    {a}: String,
    {c}: u64,
}}

impl {F} {{
    pub fn new() -> Self {{
        todo!()
    }}
}}""",
    "C": """
#include <stdio.h>

int {f}(int {a}, int {b}) {{
    int {c} = 0;
    while ({a} < {b}) {{
        {c} += {a};
        {a}++;
    }}
    return {c};
}}

int main(void) {{
    return {f}(1, 2);
}}""",
    "SQL": """
SELECT {a}, {b}
FROM {c}
WHERE {a} > 10
  AND {b} IS NOT NULL
GROUP BY {a}
ORDER BY {b} DESC;

CREATE TABLE {c} (
  {a} INTEGER,
  {b} TEXT
);

INSERT INTO {c}
VALUES (1, 'x');""",
}
_RESERVED = """
#include AND BY CREATE DESC; FROM GROUP INSERT INTEGER INTO NOT NULL None ORDER SELECT TABLE TEXT VALUES
WHERE as async await class const def default except export fn for function if impl import in int is let
mut new of open pub raise return self struct try void while with
"""
_KEYWORDS = frozenset(_RESERVED.split())


def code_screenshot(sheet: Sheet) -> list[str]:
    """Draw a code editor or a terminal-like window, dark or light."""
    rng, (w, h) = sheet.rng, sheet.size
    dark = rng.random() < 0.6
    sheet.fill(
        rng.choice([(30, 30, 36), (18, 24, 34), (40, 42, 54), (0, 43, 54)])
        if dark
        else rng.choice([(255, 255, 255), (253, 246, 227), (245, 246, 248)])
    )
    topic, words = _subject(rng)
    a, b, c, *_ = words
    language = rng.choice(list(_CODE))
    verb = rng.choice(_VERBS)
    name = f"{verb}_{rng.choice(words)}"
    lines = _CODE[language].strip("\n").format(f=name, F=a.capitalize(), a=a, b=b, c=c).split("\n")
    start = rng.choice([0, 0, rng.randrange(len(lines) // 2)])
    lines = lines[start:] + [""] + lines
    size, top, gutter = rng.randint(8, 12), 0, 0
    style = font(size, "mono")
    if rng.random() < 0.6:
        top = 18
        sheet.pen.rectangle((0, 0, w, top), fill=shade(sheet.paper, 0.12 if dark else -0.1))
        for i, dot in enumerate(((237, 106, 94), (245, 191, 79), (98, 197, 84))):
            sheet.pen.ellipse((8 + i * 14, 5, 16 + i * 14, 13), fill=dot)
    if rng.random() < 0.65:
        gutter = 22
        sheet.pen.rectangle((0, top, gutter, h), fill=shade(sheet.paper, 0.06 if dark else -0.05))
    key, call, text = rng.sample(
        [(86, 156, 214), (220, 120, 200), (120, 200, 120), (230, 180, 80), (240, 110, 110), (78, 201, 176)], 3
    )
    if not dark:
        key, call, text = shade(key, -0.35), shade(call, -0.35), shade(text, -0.35)
    step = size * 0.602
    for i, line in enumerate(lines[: int((h - top - 6) / size / 1.3)]):
        y = top + 4 + i * size * 1.3
        if gutter:
            sheet.write(gutter - 4, y, str(i + 1), font(max(7, size - 1), "mono"), "ra", (120, 124, 132))
        x = gutter + 5 + (len(line) - len(line.lstrip())) * step
        for token in line.split():
            colour = (
                key
                if token.strip("({):;") in _KEYWORDS or token in _KEYWORDS
                else call
                if "(" in token
                else text
                if token[0] in "'\"0123456789"
                else None
            )
            sheet.write(x, y, token, style, "la", colour)
            x += (len(token) + 1) * step
    theme = "dark" if dark else "light"
    word = rng.choice(["screenshot of a code editor", "screenshot of source code", "code editor"])
    return [
        article(word),
        f"{language} code on a {theme} background",
        f"{article(word)} with a {theme} theme showing {language} code",
        f"{language} source code about {topic} with {a}, {b} and {c}",
    ]


def region_map(sheet: Sheet) -> list[str]:
    """Draw a map-like set of coloured regions, plain or shaded by a measure."""
    rng, (w, h) = sheet.rng, sheet.size
    island, shaded = rng.random() < 0.6, rng.random() < 0.5
    measure = _measure(rng)[0]
    y0 = _title(sheet, _upper(measure)) if shaded else 0
    sea = jitter(rng, (170, 210, 235)) if rng.random() < 0.8 else shade(sheet.paper, -0.05)
    if not shaded:
        sheet.pen.rectangle((0, 0, w, h), fill=sea)
    nx, ny, k = rng.randint(7, 11), rng.randint(6, 9), rng.randint(4, 9)
    corner = {
        (i, j): (
            6 + (i + rng.uniform(-0.35, 0.35)) * (w - 12) / nx,
            y0 + 6 + (j + rng.uniform(-0.35, 0.35)) * (h - y0 - 12) / ny,
        )
        for i in range(nx + 1)
        for j in range(ny + 1)
    }
    seeds = [(rng.uniform(0.5, nx - 0.5), rng.uniform(0.5, ny - 0.5)) for _ in range(k)]
    base, tone = rng.choice([("blue", 1), ("green", 1), ("red", 1), ("orange", 1), ("purple", 1)])
    paints = (
        [shade(COLOURS[base], 0.85 - 1.1 * i / k * tone) for i in range(k)]
        if shaded
        else [
            shade(jitter(rng, c, 30), 0.25)
            for c in rng.choices([v for n, v in COLOURS.items() if n not in {"black", "white", "grey"}], k=k)
        ]
    )
    owner, edge = {}, shade(sheet.ink, 0.2) if rng.random() < 0.7 else (255, 255, 255)
    for i in range(nx):
        for j in range(ny):
            if island and math.hypot((i + 0.5) / nx - 0.5, (j + 0.5) / ny - 0.5) > rng.uniform(0.36, 0.52):
                continue
            owner[i, j] = min(range(k), key=lambda s: math.dist((i + 0.5, j + 0.5), seeds[s]))
            sheet.pen.polygon(
                [corner[i, j], corner[i + 1, j], corner[i + 1, j + 1], corner[i, j + 1]],
                fill=paints[owner[i, j]],
            )
    for (i, j), who in owner.items():
        for at, line in (
            ((i + 1, j), ((i + 1, j), (i + 1, j + 1))),
            ((i, j + 1), ((i, j + 1), (i + 1, j + 1))),
            ((i - 1, j), ((i, j), (i, j + 1))),
            ((i, j - 1), ((i, j), (i + 1, j))),
        ):
            if owner.get(at) != who:
                sheet.pen.line([corner[p] for p in line], fill=edge, width=2)
    cities = rng.sample(CATEGORIES["city"].split(), rng.randint(0, 4))
    for city, cell in zip(cities, rng.sample(sorted(owner), len(cities)), strict=True):
        x, y = corner[cell]
        sheet.pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(20, 20, 20))
        sheet.write(x + 4, y, city, font(9), "lm", (20, 20, 20))
    captions = [
        "a map",
        "a map of an island with coloured regions" if island else "a map with coloured regions and borders",
    ]
    if shaded:
        captions += [f"a choropleth map of {measure}", f"a map of {measure} by region in shades of {base}"]
    else:
        captions.append(
            "a political map" + (" surrounded by sea" if island and sea[2] > 210 else " in several colours")
        )
    return (
        [*captions, f"a map showing the {'cities' if len(cities) > 1 else 'city'} {listing(cities)}"]
        if cities
        else captions
    )


_DRAWERS: dict[str, tuple[Callable[[Sheet], list[str]], int]] = {
    "bar chart": (bar_chart, 3),
    "line chart": (line_chart, 3),
    "scatter plot": (scatter_plot, 2),
    "pie chart": (pie_chart, 2),
    "histogram": (histogram, 1),
    "table": (table, 2),
    "flow diagram": (flow_diagram, 2),
    "tree diagram": (tree_diagram, 2),
    "network graph": (network_graph, 1),
    "page": (page, 2),
    "code": (code_screenshot, 2),
    "map": (region_map, 2),
    "object": (one_object, 6),
    "objects": (some_objects, 6),
    "scene": (scene, 6),
    "shapes": (shapes, 3),
}
KINDS: tuple[str, ...] = tuple(_DRAWERS)
_WEIGHTS = tuple(weight for _, weight in _DRAWERS.values())
_UPRIGHT = {"page"}
_PAPERS = [(255, 255, 255)] * 6 + [
    (250, 245, 230),
    (240, 244, 250),
    (246, 246, 246),
    (30, 32, 40),
    (18, 28, 44),
]


def draw(seed: int, kind: str | None = None) -> Drawing:
    """The drawing of this seed; of one `kind` when given, else of a kind the seed chooses."""
    rng = Random(seed)
    chosen = rng.choices(KINDS, _WEIGHTS)[0]
    kind = kind or chosen
    long, ratio = rng.randint(200, 300), rng.choice([1.0, 0.9, 0.8, 0.75, 0.7, 0.65])
    width, height = (long, round(long * ratio)) if rng.random() < 0.75 else (round(long * ratio), long)
    if kind in _UPRIGHT and rng.random() < 0.7:
        width, height = min(width, height), max(width, height)
    sheet = Sheet(rng, Image.new("RGB", (width, height)), (255, 255, 255), (30, 30, 34))
    sheet.fill(rng.choice(_PAPERS))
    captions = _DRAWERS[kind][0](sheet)
    return Drawing(sheet.image, tuple(dict.fromkeys(captions)), kind)
