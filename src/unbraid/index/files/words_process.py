"""A program of its own: the words in a picture and where they stand (read_words.py asks it; unbraid/io/child.py runs it).

It decodes a picture that anyone may have made and runs two networks on it, so it may take long or die, and the process
that asks goes on. rapidocr's models lie in its package; their hashes are checked, since rapidocr itself would fetch a
damaged one from the network.
"""

import hashlib
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unbraid.errors import ImageError
from unbraid.runtime.preprocess import count_frames, decode, picture_size

# Below these no word is read (docs/experiments.md): pixels of the shorter side, levels between darkest and lightest.
MIN_SIDE, MIN_CONTRAST = 8, 13
ENLARGED = 672  # pixels of the longer side: a smaller picture is enlarged to this, at most twice
MAX_SIDE = 2000  # of the longer side; the text of a picture of 50 megapixels is large
# Limits the shorter side where the longer is so many times as long: a whole web page.
LONG, MAX_SHORT_SIDE = 3, 1600
TILE_PIXELS = 900_000  # read at a time, which bounds the memory; tiles are strips, so that no line is cut
OVERLAP = 64  # pixels of two tiles
MIN_SCORE = 0.7  # the recogniser's confidence in a line; what is below is noise
SURE = 0.9  # mean confidence below which a picture may be upside down

Line = tuple[str, tuple[float, float, float, float]]  # and its box: left, top, right, bottom


def reply(request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """{"lines": [[text, left, top, right, bottom], ...], "frames": count} of a picture file's content, or {"reason": ...}.

    {"frame"} is the page of a TIFF, from 0; of other pictures one frame counts. Numbers are shares of the upright
    picture's width and height. {"fault": ...} where nothing can be read at all; without content, {} where it can.
    """
    try:
        reader = _reader()
    except Exception as error:  # noqa: BLE001 - an import or onnxruntime may raise anything, and it is told
        return {"fault": str(error)}, b""
    if not content:
        return {}, b""
    try:
        longer, shorter = sorted(picture_size(content), reverse=True)
        at_least = MAX_SIDE if longer <= LONG * shorter else None
        image = decode(content, at_least=at_least, frame=request["frame"])
        frames = count_frames(content)
    except ImageError as error:
        return {"reason": str(error).partition(": ")[2]}, b""
    lines = [] if is_hopeless(image) else read(reader, image)
    return {"lines": [[text, *box] for text, box in lines], "frames": frames}, b""


def is_hopeless(image: Image.Image) -> bool:
    """Whether an RGB picture is too small or too even to hold a word."""
    return min(image.size) < MIN_SIDE or is_even(image)


def is_even(image: Image.Image) -> bool:
    """Whether a picture, or a part of one, has too little contrast for a word."""
    levels = np.asarray(image.convert("L"))
    return int(levels.max()) - int(levels.min()) < MIN_CONTRAST


def read(reader: Any, image: Image.Image) -> list[Line]:
    """The lines of an RGB picture from top to bottom, each with its box as shares of width and height."""
    longer, shorter = max(image.size), min(image.size)
    limit = MAX_SHORT_SIDE / shorter if longer > LONG * shorter else MAX_SIDE / longer
    scale = min(max(1.0, min(2.0, ENLARGED / longer)), limit)
    if scale != 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    lines, sure = _read_tiles(reader, image)
    if 0 < sure < SURE:
        turned, turned_sure = _read_tiles(reader, image.transpose(Image.Transpose.ROTATE_180))
        if turned_sure > sure:
            lines = [(text, (1 - x1, 1 - y1, 1 - x0, 1 - y0)) for text, (x0, y0, x1, y1) in turned]
    return lines


def _read_tiles(reader: Any, image: Image.Image) -> tuple[list[Line], float]:
    """The lines of a picture that are read with confidence, in order, and the mean confidence of a character."""
    lines: list[Line] = []
    characters, sure = 0, 0.0
    for left, right, from_x, to_x in _tiles(image.width, MAX_SIDE):
        for top, bottom, from_y, to_y in _tiles(image.height, TILE_PIXELS // min(image.width, MAX_SIDE)):
            tile = image.crop((left, top, right, bottom))
            if is_even(tile):
                continue
            found = reader(np.ascontiguousarray(np.asarray(tile)[:, :, ::-1]))
            if found.txts is None or found.boxes is None:
                continue
            for text, score, corners in zip(found.txts, found.scores, found.boxes, strict=True):
                (x0, y0), (x1, y1) = corners.min(axis=0) + (left, top), corners.max(axis=0) + (left, top)
                if not (from_x <= (x0 + x1) / 2 < to_x and from_y <= (y0 + y1) / 2 < to_y):
                    continue
                characters, sure = characters + len(text), sure + float(score) * len(text)
                if score >= MIN_SCORE and any(map(str.isalnum, text)):
                    left_top = _share(x0, image.width), _share(y0, image.height)
                    lines.append(
                        (text.strip(), (*left_top, _share(x1, image.width), _share(y1, image.height)))
                    )
    return _in_order(lines), sure / max(1, characters)


def _share(place: float, length: int) -> float:
    """A place on a side as a share of it."""
    return round(min(max(float(place) / length, 0.0), 1.0), 4)


def _tiles(length: int, most: int) -> Iterator[tuple[int, int, float, float]]:
    """Tiles of a side, of at most `most` pixels: (start, end) and the part of it that counts.

    They overlap, and a line in two tiles is taken from one.
    """
    count = max(1, math.ceil((length - OVERLAP) / (most - OVERLAP)))
    size = math.ceil((length + (count - 1) * OVERLAP) / count)
    starts = [min(n * (size - OVERLAP), length - size) for n in range(count)]
    cuts = [0.0, *(start + OVERLAP / 2 for start in starts[1:]), math.inf]
    yield from ((start, start + size, cuts[n], cuts[n + 1]) for n, start in enumerate(starts))


def _in_order(lines: list[Line]) -> list[Line]:
    """By rows from the top, a row from the left: a line belongs to a row when its middle lies in the row's first line."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: one[1][1] + one[1][3]):
        first = rows[-1][0][1] if rows else None
        middle = (line[1][1] + line[1][3]) / 2
        if first is not None and first[1] <= middle <= first[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda one: one[1][0])]


@cache
def _reader() -> Any:
    """rapidocr with its own models on one thread. Raises RuntimeError when a model is missing or damaged."""
    import rapidocr
    import yaml

    home = Path(rapidocr.__file__).parent
    known = dict(_hashes(yaml.safe_load((home / "default_models.yaml").read_text(encoding="utf-8"))))
    files = {
        "Det": home / "models" / "PP-OCRv6_det_small.onnx",
        "Rec": home / "models" / "PP-OCRv6_rec_small.onnx",
    }
    for file in files.values():
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != known.get(file.name):
            raise RuntimeError(
                f"the model {file} is missing or damaged: pip install --force-reinstall --no-deps rapidocr"
            )
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    models = {f"{part}.model_path": str(file) for part, file in files.items()}
    # "max" and no limit: the picture comes in the size that it is to be read in.
    # Lines one at a time: six long ones together take 1 GB. Short ones are padded to 160 pixels and not to 320, which
    # takes .39 core-s a picture in place of .55 and reads the same.
    line = {"Rec.rec_batch_num": 1, "Rec.rec_img_shape": [3, 48, 160]}
    size = {
        "Det.limit_type": "max",
        "Det.limit_side_len": MAX_SIDE,
        "Global.max_side_len": MAX_SIDE,
    }
    # No classifier of upside-down lines: it turns sound ones too (48 words of a sample became 40).
    others = {"Global.use_cls": False, "Global.text_score": 0.0, "Global.log_level": "critical"}
    return rapidocr.RapidOCR(params={**threads, **models, **size, **line, **others})


def _hashes(about: Any) -> Iterator[tuple[str, str]]:
    """(file name, sha256) of every model that rapidocr's list of models names."""
    if isinstance(about, dict):
        if "model_dir" in about and "SHA256" in about:
            yield str(about["model_dir"]).rpartition("/")[2], str(about["SHA256"])
        for part in about.values():
            yield from _hashes(part)
