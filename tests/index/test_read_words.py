import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from unbraid.errors import DataError
from unbraid.index.files.chunk import Limit
from unbraid.index.files.read_words import Line, WordReader, cut_lines, read_boxes, write_boxes

shares = st.floats(0, 1)
texts = st.integers(1, 300).map(lambda count: "word " * count)
lines = st.builds(Line, texts, st.tuples(shares, shares, shares, shares))
few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(st.lists(lines, max_size=30))
def test_chunks_hold_every_line_once_and_fit(some: list[Line]) -> None:
    limit = Limit(254, lambda texts: [len(text.split()) for text in texts])
    chunks = list(cut_lines(some, limit))
    parts = [(word, line.box) for chunk in chunks for line in chunk for word in line.text.split()]
    assert parts == [(word, line.box) for line in some for word in line.text.split()]
    for chunk in chunks:
        assert sum(len(line.text.split()) for line in chunk) <= limit.tokens


@few
@given(st.lists(lines, max_size=9))
def test_boxes_are_read_as_written(some: list[Line]) -> None:
    for line, box in zip(some, read_boxes(write_boxes(some)), strict=True):
        assert box == pytest.approx(line.box, abs=1e-3)


class FakeChild:
    """Answers with what it is given, or raises it."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def ask(self, request: object, content: bytes = b"", *, seconds: float) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, b""


def reader(*answers: object) -> WordReader:
    made = WordReader()
    vars(made)["_child"] = FakeChild(*answers)
    return made


def test_a_picture_has_one_page_and_a_tiff_has_several() -> None:
    line = ["a \ud800", 0, 0, 1, 1]
    assert reader({"lines": [line, [" ", 0, 0, 1, 1]], "frames": 1}).read(b"x", print) == {
        None: [Line("a �", (0, 0, 1, 1))]
    }
    found = reader({"lines": [line], "frames": 2}, {"lines": [], "frames": 2}).read(b"x", print)
    assert list(found) == [1, 2] and found[2] == []


def test_pages_before_one_that_cannot_be_read_are_kept() -> None:
    line = ["a", 0, 0, 1, 1]
    told: list[str] = []
    answers = {"lines": [line], "frames": 9}, {"reason": "image file is truncated"}
    assert reader(*answers).read(b"x", told.append) == {1: [Line("a", (0, 0, 1, 1))]}
    assert told == ["page 2 and those behind it: its words were not read: image file is truncated"]


def test_a_long_page_has_more_time() -> None:
    asked = []

    class Child(FakeChild):
        def ask(self, request: object, content: bytes = b"", *, seconds: float) -> object:
            asked.append(seconds)
            return super().ask(request, content, seconds=seconds)

    for size in ((1_000, 1_000), (1_600, 20_000)):
        made = WordReader()
        vars(made)["_child"] = Child({"lines": [], "frames": 1})
        stream = io.BytesIO()
        Image.new("1", size).save(stream, "PNG")
        made.read(stream.getvalue(), print)
    assert asked == [30, 120]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"reason": "broken picture"}, "its words were not read: broken picture"),
        (TimeoutError("it takes over 30 seconds"), "its words were not read: it takes over 30 seconds"),
        (EOFError("its reader died"), "its words were not read: its reader died"),
    ],
)
def test_the_reason_is_named(answer: object, reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}$"):
        reader(answer).read(b"x", print)


def test_a_fault_is_of_all_pictures() -> None:
    assert (
        reader({}).fault() is None
        and reader({"fault": "the model is damaged"}).fault() == "the model is damaged"
    )
    assert "did not start" in str(reader(EOFError("its reader died")).fault())


@pytest.mark.slow
def test_words_are_read_upright_upside_down_and_turned() -> None:
    pytest.importorskip("rapidocr", reason="pip install 'unbraid[ocr]'")
    image = Image.new("RGB", (500, 200), "white")
    font = ImageFont.load_default(24)
    ImageDraw.Draw(image).text((20, 20), "Turnover of Zanzibar\n42,000 euros", fill="black", font=font)
    with WordReader() as reader:
        for turned in (image, image.rotate(180), image.rotate(90, expand=True), image.convert("CMYK")):
            stream = io.BytesIO()
            turned.save(stream, "TIFF")
            (found,) = reader.read(stream.getvalue(), print).values()
            assert sorted(line.text.lower() for line in found) == ["42,000 euros", "turnover of zanzibar"]
        assert reader.read(stream.getvalue(), print)[None][0].box[1] < 0.4
        with pytest.raises(DataError, match="not a picture of a known kind"):
            reader.read(b"nothing", print)
