"""Pictures that are hard to read: each is indexed, with its words, or skipped with its true reason.

python benchmarks/bad_pictures.py                      # every kind once; a minute on one core, with unbraid[ocr]
python benchmarks/bad_pictures.py --icons 10000        # a folder of icons: time and memory
python benchmarks/bad_pictures.py --kills 5            # kill -9 while words are read: what was told as done stays
"""

import argparse
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

import unbraid
from unbraid.index.files.language import PICTURE

WORDS = "harbour bridge 1912"
LAST = "second page"
COUNT = 100  # pictures of which the words are read while the process is killed


@dataclass(frozen=True)
class Case:
    """A file, how it is made, and what has to come of it: `words` in it, "" for a picture alone, or a `reason`."""

    name: str
    save: Callable[[Path], None]
    words: str = ""
    reason: str = ""


def text(words: str = WORDS, size: tuple[int, int] = (640, 160), font: str | None = None) -> Image.Image:
    """Black words on white."""
    image = Image.new("RGB", size, "white")
    chosen = ImageFont.truetype(font, 44) if font else ImageFont.load_default(44)
    ImageDraw.Draw(image).text((40, 40), words, "black", font=chosen)
    return image


def large(width: int, height: int) -> Image.Image:
    """Words a tenth as high as the picture."""
    image = Image.new("L", (width, height), 255)
    ImageDraw.Draw(image).text(
        (width // 10, height // 3), WORDS, 0, font=ImageFont.load_default(max(10, height // 10))
    )
    return image


def deep(bits: int = 16) -> Image.Image:
    """The words in grey of 16 bits."""
    return Image.fromarray(np.asarray(text().convert("L")).astype(np.uint16) << (bits - 8))


def rgb16_tiff(path: Path) -> None:
    """The words as a TIFF of three 16-bit channels, which Pillow reads but does not write."""
    pixels = np.asarray(text()).astype("<u2") * 257
    height, width, _ = pixels.shape
    start = 8 + pixels.nbytes
    bits = np.array([16, 16, 16], "<u2").tobytes()
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, start), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, pixels.nbytes)]
    folder = len(tags).to_bytes(2, "little")
    for tag, kind, count, value in tags:
        folder += b"".join(
            number.to_bytes(size, "little") for number, size in ((tag, 2), (kind, 2), (count, 4), (value, 4))
        )
    head = b"II*\0" + (start + len(bits)).to_bytes(4, "little")
    path.write_bytes(head + pixels.tobytes() + bits + folder + bytes(4))


def with_chunk(kind: bytes, content: bytes) -> Callable[[Path], None]:
    """Saves a PNG with one more chunk behind its header."""

    def save(path: Path) -> None:
        text().save(path)
        data = path.read_bytes()
        body = kind + content
        chunk = len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
        path.write_bytes(data[:33] + chunk + data[33:])

    return save


def animated(path: Path) -> None:
    """Three frames, of which the first has the words."""
    others = [text("another frame"), text("the last frame")]
    text().save(path, save_all=True, append_images=others, duration=100)


def turned(orientation: int) -> Callable[[Path], None]:
    """Saves a JPEG that its EXIF turns upright."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}

    def save(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        text().transpose(back[orientation]).save(path, exif=exif)

    return save


def stacked() -> Image.Image:
    """A word whose letters stand below each other."""
    image = Image.new("RGB", (200, 560), "white")
    for row, letter in enumerate("BRIDGE"):
        ImageDraw.Draw(image).text((80, 20 + 85 * row), letter, "black", font=ImageFont.load_default(60))
    return image


def svg(path: Path) -> None:
    """Words as text, and a path whose numbers are none."""
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg"><text>{WORDS}</text><path d="M 1 2 L 31337 4"/></svg>'
    )


def right_to_left() -> list[Case]:
    """Hebrew and Arabic, where matplotlib has a font for them: no words of theirs are read, and nothing is made up."""
    try:
        import matplotlib
    except ImportError:
        return []
    font = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    hebrew, arabic = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0645\u0631\u062d\u0628\u0627"
    return [
        Case("hebrew.png", text(hebrew[::-1], font=font).save),
        Case("arabic.png", text(arabic, font=font).save),
    ]


def cases() -> list[Case]:
    """Every kind."""
    frames = [text(), text(LAST)]
    rgba = text().convert("RGBA")
    return [
        Case("50-megapixels.png", large(10_000, 5_000).save, WORDS),
        Case("50-megapixels.jpg", large(10_000, 5_000).save, WORDS),
        Case("51-megapixels.png", large(10_200, 5_000).save, reason="more than the cap of 50,000,000"),
        Case("1x10000.png", Image.linear_gradient("L").resize((1, 10_000)).save),
        Case("10000x1.png", Image.linear_gradient("L").rotate(90).resize((10_000, 1)).save),
        Case("1x70000.png", Image.new("L", (1, 70_000)).save, reason="more than the cap of 65,535"),
        Case("banner.png", large(12_000, 400).save, WORDS),
        Case("web-page.png", _tall().save, WORDS),
        *(Case(f"exif-{one}.jpg", turned(one), WORDS) for one in (3, 6, 8)),
        Case("upside-down.png", text().rotate(180).save, WORDS),
        Case("downwards.png", text().rotate(-90, expand=True).save, WORDS),
        Case("upwards.png", text().rotate(90, expand=True).save, WORDS),
        Case("stacked.png", stacked().save),
        *right_to_left(),
        Case("cmyk.jpg", text().convert("CMYK").save, WORDS),
        Case("cmyk.tif", text().convert("CMYK").save, WORDS),
        Case("grey-16.png", deep().save, WORDS),
        Case("grey-16.tif", deep().save, WORDS),
        Case("rgb-16.tif", rgb16_tiff, WORDS),
        Case("12-bits-in-16.tif", deep(12).save),
        Case("one-bit.tif", lambda path: text().convert("1").save(path, compression="group4"), WORDS),
        Case("pages.tif", lambda path: frames[0].save(path, save_all=True, append_images=frames[1:]), LAST),
        Case("bitmap.bmp", text().save, WORDS),
        Case("icon.ico", lambda path: text(size=(640, 640)).save(path, sizes=[(256, 256)]), "harbour"),
        Case("picture.avif", text().save, WORDS),
        Case("phone.heic", lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64)), reason="HEIC"),
        Case("animated.gif", animated, WORDS),
        Case("animated.webp", animated, WORDS),
        Case("animated.png", animated, WORDS),
        Case("transparent.png", lambda path: _clear(rgba).save(path), WORDS),
        Case("drawing.svg", svg, WORDS),
        Case("ztxt.png", with_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(20 << 20))), WORDS),
        Case("text-of-100-mb.png", lambda path: text().save(path, pnginfo=_notes(), compress_level=1), WORDS),
        Case("iccp.png", with_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(20 << 20))), WORDS),
        Case("cut-off.png", _cut_off, reason="truncated"),
        Case("empty.png", lambda path: path.write_bytes(b""), reason="empty"),
        Case("page.html.png", lambda path: path.write_text("<html>"), reason="not a picture"),
    ]


def _tall() -> Image.Image:
    page = Image.new("RGB", (1200, 14_000), "white")
    page.paste(text(), (100, 13_000))
    return page


def _clear(image: Image.Image) -> Image.Image:
    image.putalpha(image.convert("L").point(lambda level: 255 - level))
    return image


def _notes() -> PngInfo:
    notes = PngInfo()
    for number in range(100):
        notes.add_text(f"note {number}", "x" * (1 << 20), zip=True)
    return notes


def _cut_off(path: Path) -> None:
    text().save(path)
    path.write_bytes(path.read_bytes()[:-300])


def every_kind(place: Path) -> int:
    """Index one file of each kind; prints what came of it and returns how many were wrong."""
    folder = place / "pictures"
    folder.mkdir()
    todo = cases()
    for case in todo:
        case.save(folder / case.name)
    wrong = 0
    with unbraid.open_index(place / "index") as index:
        report = index.add(folder, progress=False)
        reasons: dict[str, str] = {}
        for one in report.skipped:
            reasons[one.path.name] = one.reason
        for case in todo:
            entries = index.entries(os.path.realpath(folder / case.name))
            found = " ".join(
                one.snippet.replace("\n", " ")
                for one in entries
                if one.language == PICTURE or case.name.endswith("svg")
            )
            reason = reasons.get(case.name, "")
            if case.reason:
                right = case.reason in reason and not entries
            else:
                right = bool(entries) and not reason and (_plain(case.words) in _plain(found))
            wrong += not right
            print(f"{'' if right else 'WRONG':5}  {case.name:22}  {reason or f'read: {found[:60]!r}'}")
        words = report.seconds.get("words", 0.0)
    print(f"{len(todo)} files, {wrong} wrong; words took {words:.1f} s; {_memory()}")
    return wrong


def _plain(words: str) -> str:
    return re.sub(r"\W", "", words).lower()


def _memory() -> str:
    return f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB, the OCR process not counted"


def make_icons(folder: Path, count: int) -> None:
    """Icons of 16 to 64 pixels, no two alike."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        side = (16, 24, 32, 48, 64)[number % 5]
        image = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8)).resize((side, side))
        image.save(folder / f"{number}.png")


def icons(place: Path, count: int) -> int:
    """Index a folder of icons; prints time and memory."""
    make_icons(place / "icons", count)
    started = time.perf_counter()
    with unbraid.open_index(place / "index") as index:
        report = index.add(place / "icons", progress=False)
    seconds = {name: round(took, 1) for name, took in report.seconds.items()}
    print(
        f"{report.added} icons, {report.words_found} with words, in {time.perf_counter() - started:.0f} s {seconds}"
    )
    print(_memory())
    return report.added != count


def kills(place: Path, rounds: int) -> int:
    """End a run by kill -9 while it reads words, some times; prints how many pictures each run left as read."""
    folder = place / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        text(f"picture number {number}").save(folder / f"{number}.png")
    command = [sys.executable, "-m", "unbraid", "index", str(folder), "--into", str(place / "index")]
    done, wrong = 0, 0
    for number in range(rounds + 1):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            if number < rounds:
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                while process.poll() is None and not children.read_text():  # until words are being read
                    time.sleep(0.05)
                time.sleep(10 + 3 * number)
                process.send_signal(signal.SIGKILL)
        with unbraid.open_index(place / "index", read_only=True) as index:
            states = index.store.files().values()
            left = sum("words" in state.seen.split() for state in states)
            whole = all(state.complete for state in states)
        wrong += left < done or not whole
        done = left
        print(f"run {number}: {left} of {COUNT} read, every file whole: {whole}")
    return wrong + (done != COUNT)


def main() -> None:
    """Run one of the three; the exit status says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--icons", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if chosen.icons:
            wrong = icons(Path(place), chosen.icons)
        elif chosen.kills:
            wrong = kills(Path(place), chosen.kills)
        else:
            wrong = every_kind(Path(place))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
