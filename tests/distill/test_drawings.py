import hashlib
import re
import subprocess
import sys
from random import Random

import pytest
from PIL import Image

from unbraid.distill.drawings import KINDS, draw, kinds
from unbraid.distill.drawings.objects import OBJECTS, SHAPES
from unbraid.distill.drawings.sheet import Sheet
from unbraid.distill.drawings.stamp import stamp
from unbraid.distill.drawings.vocabulary import MEASURES, TOPICS, article

WORDS = {  # what the first caption of a kind has to say
    "bar chart": ("bar chart", "bar graph"),
    "line chart": ("line chart", "line graph", "area chart"),
    "scatter plot": ("scatter",),
    "pie chart": ("pie", "donut", "ring"),
    "histogram": ("histogram",),
    "table": ("table",),
    "flow diagram": ("flow",),
    "tree diagram": ("tree diagram", "hierarchy", "organisation chart"),
    "network graph": ("network",),
    "page": ("page", "document"),
    "code": ("code",),
    "map": ("map",),
    "object": tuple(OBJECTS),
    "objects": (*OBJECTS, "butterflies", "cacti", "people", "snowmen", "glasses"),
    "scene": (" on ", " in "),
    "shapes": ("geometric shape",),
}


def fingerprint(seeds: range) -> str:
    digest = hashlib.sha256()
    for seed in seeds:
        drawing = draw(seed)
        digest.update(drawing.image.tobytes() + repr((drawing.captions, drawing.kind)).encode())
    return digest.hexdigest()


def test_a_seed_gives_the_same_pixels_and_captions_in_another_process():
    code = "from test_drawings import *; print(fingerprint(range(60)))"
    place = str(__file__).rsplit("/", 1)[0]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {[place, *sys.path]!r}; {code}"]
    other = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert other.stdout.strip() == fingerprint(range(60))


def test_seeds_differ():
    assert len({draw(seed).image.tobytes() for seed in range(100)}) == 100


def test_every_kind_occurs():
    assert {draw(seed).kind for seed in range(400)} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_captions_name_the_kind_and_sizes_are_sane(kind):
    for seed in range(120):
        drawing = draw(seed, kind)
        assert drawing.kind == kind
        assert 3 <= len(drawing.captions) <= 5
        assert any(word in drawing.captions[0] for word in WORDS[kind]), drawing.captions
        assert all(8 <= len(caption) + 5 <= 200 and "  " not in caption for caption in drawing.captions)
        assert drawing.image.mode == "RGB"
        assert 190 <= max(drawing.image.size) <= 310 and min(drawing.image.size) >= 110
        assert len(drawing.image.getcolors(100_000)) > 1, "an empty drawing"


def runs_of_colour(image, colour):
    """The topmost y of each horizontal group of columns that hold `colour`."""
    columns = [
        [y for y in range(image.height) if image.getpixel((x, y)) == colour] for x in range(image.width)
    ]
    tops, inside = [], False
    for column in columns:
        if len(column) > 3 and not inside:
            tops.append(min(column))
        inside = len(column) > 3
    return tops


def test_the_bar_a_caption_calls_highest_is_the_highest():
    checked = 0
    for seed in range(150):
        drawing = draw(seed, "bar chart")
        claim = next((c for c in drawing.captions if "is the highest" in c), None)
        listed = next((c for c in drawing.captions if "comparing" in c), "")
        if not claim or "vertical" not in str(drawing.captions) or "multicoloured" in str(drawing.captions):
            continue
        names = re.split(r", | and ", listed.split(" for ", 1)[1].removesuffix(" and others"))
        palette = sorted(drawing.image.getcolors(100_000), reverse=True)
        tops = runs_of_colour(drawing.image, palette[1][1])
        if "and others" in listed or len(tops) != len(names):
            continue
        assert names[tops.index(min(tops))] in claim
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize("kind", ["bar chart", "line chart", "pie chart", "map"])
def test_captions_name_a_measure_only_where_a_title_shows_it(kind, monkeypatch):
    sheets = []

    class Watched(Sheet):
        def __post_init__(self):
            super().__post_init__()
            sheets.append(self)

    monkeypatch.setattr(kinds, "Sheet", Watched)
    for seed in range(150):
        said = " | ".join(draw(seed, kind).captions[1:])
        named = any(re.search(rf" of {re.escape(measure)}\b", said) for measure in MEASURES)
        if kind != "map" or "values" in said or named:  # a map without shades measures nothing
            assert named == sheets[-1].titled and ("values" in said) != named, said
    assert {sheet.titled for sheet in sheets} == {True, False}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_outline_stays_near_its_box_and_leaves_ink(name):
    for strokes in OBJECTS[name][1]:
        points = [p for stroke in strokes for p in stroke.points]
        assert all(-0.1 <= x <= 1.1 and -0.1 <= y <= 1.1 for x, y in points)
        sheet = Sheet(Random(0), Image.new("RGB", (64, 64), (1, 2, 3)), (1, 2, 3), (255, 255, 255))
        stamp(sheet, strokes, (0, 0, 64, 64), (200, 30, 30))
        changed = sum(n for n, colour in sheet.image.getcolors(5000) if colour != (1, 2, 3))
        assert changed > 150


def test_the_vocabulary_is_wide():
    assert len(MEASURES) + len(TOPICS) >= 100
    assert len(OBJECTS) >= 40 and len(SHAPES) >= 12


def test_article_follows_the_sound_and_plurals_take_none():
    assert [article(w) for w in ("apple", "red apple", "scissors")] == ["an apple", "a red apple", "scissors"]
