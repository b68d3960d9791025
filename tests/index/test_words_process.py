import importlib
import io
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

program = importlib.import_module("unbraid.index.files.words_process")


class FakeReader:
    """Finds the white rectangles of a dark picture, each a line; `score` is its confidence, by how dark the top left is."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, pixels: np.ndarray) -> Any:
        self.sizes.append((pixels.shape[1], pixels.shape[0]))
        rows = np.flatnonzero((pixels > 200).all(axis=2).any(axis=1))
        if not len(rows):
            return types.SimpleNamespace(txts=None, boxes=None, scores=None)
        parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        boxes, sure = [], 0.99 if pixels[0, 0].max() < 100 else 0.7
        for part in parts:
            columns = np.flatnonzero((pixels[part[0] : part[-1] + 1] > 200).all(axis=2).any(axis=0))
            left, right, top, bottom = columns[0], columns[-1] + 1, part[0], part[-1] + 1
            boxes.append([(left, top), (right, top), (right, bottom), (left, bottom)])
        texts = [f"{len(part)} high" for part in parts]
        return types.SimpleNamespace(txts=texts, boxes=np.array(boxes, float), scores=[sure] * len(parts))


def dark(width: int, height: int, *lines: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", (width, height), "black")
    for box in lines:
        image.paste("white", box)
    return image


few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(st.integers(1, 20_000), st.integers(200, 2_000))
def test_tiles_cover_a_side_and_count_each_place_once(length: int, most: int) -> None:
    tiles = list(program._tiles(length, most))
    assert (
        tiles[0][0] == 0 and tiles[-1][1] == length and all(end - start <= most for start, end, *_ in tiles)
    )
    assert [tile[2] for tile in tiles[1:]] == [tile[3] for tile in tiles[:-1]]
    half = program.OVERLAP // 2
    for (
        start,
        end,
        counts_from,
        counts_to,
    ) in tiles:  # a line of OVERLAP pixels that counts here is here as a whole
        assert start == 0 or counts_from - half >= start
        assert end == length or counts_to + half <= end


def test_boxes_are_shares_of_the_whole_picture_also_from_tiles() -> None:
    page = dark(1000, 4000, (100, 200, 600, 220), (100, 1990, 600, 2010), (500, 3900, 900, 3920))
    reader = FakeReader()
    lines = program.read(reader, page)
    assert [text for text, _ in lines] == ["20 high"] * 3 and len(reader.sizes) > 2
    assert [box for _, box in lines] == [
        (0.1, 0.05, 0.6, 0.055),
        (0.1, 0.4975, 0.6, 0.5025),
        (0.5, 0.975, 0.9, 0.98),
    ]


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((100, 80), (200, 160)),
        ((448, 300), (672, 450)),
        ((4000, 3000), (2000, 1500)),
        ((1920, 1080), (1920, 1080)),
    ],
)
def test_small_pictures_are_enlarged_and_large_ones_made_smaller(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    reader = FakeReader()
    width, height = size
    program.read(reader, dark(width, height, (0, 0, width // 4, height)))
    assert reader.sizes[0][0] == seen[0] and all(w * h <= program.TILE_PIXELS + 2000 for w, h in reader.sizes)
    assert max(height for _, height in reader.sizes) <= seen[1] <= sum(height for _, height in reader.sizes)


def test_a_picture_read_with_little_confidence_is_tried_upside_down() -> None:
    image = dark(1000, 800, (200, 80, 600, 120), (200, 200, 600, 260))
    image.putpixel((0, 0), (150, 150, 150))  # what FakeReader takes as the wrong way round
    lines = program.read(FakeReader(), image)
    assert [(text, box) for text, box in lines] == [
        ("60 high", pytest.approx((0.2, 0.25, 0.6, 0.325))),
        ("40 high", pytest.approx((0.2, 0.1, 0.6, 0.15))),
    ]


@few
@given(st.permutations(range(12)))
def test_lines_are_in_rows_from_the_top(order: list[int]) -> None:
    lines = [
        (str(n), (n % 3 / 3, n // 3 / 4 + n % 3 / 50, n % 3 / 3 + 0.2, n // 3 / 4 + 0.15)) for n in range(12)
    ]
    assert program._in_order([lines[n] for n in order]) == lines


def test_even_parts_of_a_long_page_are_passed_over() -> None:
    reader = FakeReader()
    assert len(program.read(reader, dark(1000, 6000, (100, 5500, 600, 5520)))) == 1
    assert len(reader.sizes) == 1


def test_tiny_and_even_pictures_are_hopeless() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    assert not program.is_hopeless(noise) and not program.is_hopeless(dark(900, 900, (10, 10, 60, 20)))
    assert program.is_hopeless(noise.resize((64, 7))) and program.is_hopeless(Image.new("RGB", (1, 10_000)))
    assert program.is_hopeless(Image.new("RGB", (300, 300), "blue"))


def test_what_cannot_be_decoded_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_reader", FakeReader)
    assert program.reply({}, b"") == ({}, b"")
    about, _ = program.reply({"frame": 0}, b"no picture")
    assert about["reason"].startswith("not a picture of a known kind")
    stream = io.BytesIO()
    pages = [dark(1000, 800, (200, 80, 600, bottom)) for bottom in (120, 180)]
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    found = [program.reply({"frame": frame}, stream.getvalue())[0] for frame in (0, 1)]
    assert [(one["lines"][0][0], one["frames"]) for one in found] == [("40 high", 2), ("100 high", 2)]


def test_a_damaged_or_missing_model_is_a_fault_and_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("yaml", reason="pip install 'unbraid[ocr]'")
    (tmp_path / "models").mkdir()
    name = "PP-OCRv6_det_small.onnx"
    (tmp_path / "default_models.yaml").write_text(f"a:\n  model_dir: https://x.test/{name}\n  SHA256: 0000\n")
    (tmp_path / "models" / name).write_bytes(b"damaged")
    fake = types.ModuleType("rapidocr")
    fake.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(__import__("sys").modules, "rapidocr", fake)
    program._reader.cache_clear()
    about, _ = program.reply({"frame": 0}, b"anything")
    assert "missing or damaged: pip install --force-reinstall" in about["fault"] and name in about["fault"]
