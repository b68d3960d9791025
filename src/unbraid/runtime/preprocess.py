"""Safe decoding of pictures, and the single definition of how a picture becomes an encoder's input.

`decode` turns a file, its bytes or a PIL image into RGB, or raises ImageError. `ImagePreprocess` turns RGB into an
array. Training, export and the CPU runtime all call both, so they agree.
"""

import importlib
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from unbraid.errors import ImageError

# By content, not by suffix. Naming them keeps Pillow's forty other parsers away from untrusted bytes.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "ICO", "AVIF")
_PLUGINS = ("Png", "Jpeg", "WebP", "Gif", "Bmp", "Tiff", "Ico", "Avif")
# 50 megapixels are 150 MB as RGB. Pillow refuses from 179 on; a 20 KB file of 169 megapixels takes 821 MB.
MAX_PIXELS = 50_000_000
# The limit of JPEG and GIF. A PNG of 95 KB and 1 × 49,000,000 pixels takes 1 GB: Pillow keeps a pointer for each row.
MAX_SIDE = 65_535
# The WebP reader takes the whole file into memory before it knows the picture's size.
MAX_BYTES = 1 << 29

# A picture of 1 × 65,535 pixels whose shorter side becomes 224 would have 3 billion pixels before it is cropped.
LONG = 32
# Times `size` that a shorter side may become before the middle is cut out: 256 for 224 is usual.
LARGER = 4
MAX_INPUT = 4096  # pixels a side, of an encoder's input: 200 MB

T = TypeVar("T")
_WHITE = (255, 255, 255)
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_JPEG = {"JPEG", "MPO"}  # MPO is a JPEG with more pictures behind it, as phones write


def decode(source: Path | bytes | Image.Image, *, at_least: int | None = None, frame: int = 0) -> Image.Image:
    """The picture as RGB: upright, transparency on white, and of several frames the first, or page `frame` of a TIFF.

    A JPEG file may be decoded at 1/2, 1/4 or 1/8 of its size while its longer side keeps `at_least` pixels: a
    picture of 12 megapixels then takes half the time, and its thumbnail differs by 0.2 grey levels on average.
    `bytes` are a file's content. A PIL image is not changed; one that needs no change is itself the result.
    Raises ImageError, which names the file and the reason, for anything but a picture of at most MAX_PIXELS pixels
    and MAX_SIDE on a side.
    """
    if isinstance(source, Image.Image):
        name = f"PIL image {getattr(source, 'filename', '') or ''}".rstrip()
    else:
        name = str(source) if isinstance(source, Path) else "picture"
    with _refusals(name):
        if isinstance(source, Image.Image):
            _check_size(source, name)
            return _to_rgb(source)
        if isinstance(source, bytes):
            return _decode_stream(BytesIO(source), name, at_least, frame)
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
            raise ImageError(f"{name}: {'is a directory' if source.is_dir() else 'is not a regular file'}")
        if status.st_size > MAX_BYTES:
            raise ImageError(f"{name}: {status.st_size:,} bytes, more than the cap of {MAX_BYTES:,}")
        with source.open("rb") as file:
            return _decode_stream(file, name, at_least, frame)


def count_frames(content: bytes) -> int:
    """The pages of a TIFF file's `content`, at least 1; 1 for any other picture. Raises ImageError as `decode` does."""

    def count(image: Image.Image) -> int:
        return getattr(image, "n_frames", 1) if image.format == "TIFF" else 1

    with _refusals("picture"):
        return _opened(BytesIO(content), count)


def picture_size(content: bytes) -> tuple[int, int]:
    """Width and height that the header of a picture file's `content` claims; nothing is decoded.

    Raises ImageError as `decode` does.
    """

    def size(image: Image.Image) -> tuple[int, int]:
        _check_size(image, "picture")
        return image.size

    with _refusals("picture"):
        return _opened(BytesIO(content), size)


Method: TypeAlias = Literal["fit", "pad", "crop", "squash"]
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True)
class ImagePreprocess:
    """The steps from RGB to an encoder's input; a bundle stores these fields.

    A value x of 0..255 becomes (x / 255 - mean) / std of its channel. `method` says how a picture becomes a square of
    `size` pixels:

    - "fit": the whole picture in a white square, since charts and pages lose their meaning when cropped. Large pictures
      are averaged by blocks first.
    - "pad": the whole picture in a square of the grey level `fill`, as open_clip's "longest".
    - "crop": the shorter side becomes `resize` pixels (None: `size`), then the middle is cut out. `offset` rounds half
      a pixel: "round" as torchvision does, to the even number, "floor" as transformers.
    - "squash": both sides become `size`.

    All but "fit" give the pixels of open_clip's transform and of the PIL image processors in transformers.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    method: Method = "fit"
    interpolation: Interpolation = "bicubic"
    resize: int | None = None
    offset: Literal["round", "floor"] = "round"
    fill: int = 0

    def __post_init__(self) -> None:
        """Refuse values that would give an error or an infinity later; lists (from JSON) become tuples."""
        for field in ("mean", "std"):
            object.__setattr__(self, field, tuple(float(v) for v in getattr(self, field)))
        finite = np.isfinite((*self.mean, *self.std)).all()
        if not all(isinstance(one, int) for one in (self.size, self.resize or 1, self.fill)):
            raise ValueError(f"size, resize and fill are whole numbers: {self}")
        if self.size < 1 or len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std) <= 0:
            raise ValueError(f"size must be positive, mean and std three numbers, std above 0: {self}")
        if self.size > MAX_INPUT:
            raise ValueError(f"size is {self.size}, expected at most {MAX_INPUT:,}")
        for field, known in _KNOWN.items():
            if (value := getattr(self, field)) not in known:
                raise ValueError(f"{field} is {value!r}; this version knows {', '.join(map(repr, known))}")
        if self.resize is not None and not self.size <= self.resize <= LARGER * self.size:
            raise ValueError(
                f"resize is {self.resize}, expected {self.size} (size) to {LARGER * self.size} ({LARGER} × size)"
            )
        if not 0 <= self.fill <= 255:
            raise ValueError(f"fill is {self.fill}, expected a grey level of 0 to 255")

    def __call__(self, image: Image.Image) -> np.ndarray:
        """float32 [3, size, size] of an RGB image."""
        if image.mode != "RGB":
            raise ValueError(
                f"image is {image.mode}, not RGB: pass it through unbraid.runtime.preprocess.decode first"
            )
        square = _SQUARES[self.method](self, image)
        x: np.ndarray = np.asarray(square, dtype=np.float32) / np.float32(255)
        x = (x - np.array(self.mean, dtype=np.float32)) / np.array(self.std, dtype=np.float32)
        return np.ascontiguousarray(x.transpose(2, 0, 1))

    def load(self, source: Path | Image.Image) -> np.ndarray:
        """float32 [3, size, size] of a file or a PIL image. Raises ImageError as `decode` does."""
        return self(decode(source, at_least=self.at_least))

    @property
    def at_least(self) -> int | None:
        """What `decode` is given so that a picture keeps enough pixels for these steps; None: all of them."""
        # A JPEG that is decoded smaller would no longer give another library's pixels.
        return 4 * self.size if self.method == "fit" else None


def _fit(steps: ImagePreprocess, image: Image.Image) -> Image.Image:
    scale = steps.size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    # A gap of 3 averages blocks of pixels first where the picture is at least 6 times too large: at 12
    # megapixels 9 times faster, and 0.6 grey levels away on average.
    small = image.resize((width, height), _FILTERS[steps.interpolation], reducing_gap=3.0)
    return _in_square(steps.size, small, _WHITE)


def _pad(steps: ImagePreprocess, image: Image.Image) -> Image.Image:
    ratio = max(side / steps.size for side in image.size)
    width, height = (max(1, round(side / ratio)) for side in image.size)
    return _in_square(
        steps.size, image.resize((width, height), _FILTERS[steps.interpolation]), (steps.fill,) * 3
    )


def _in_square(size: int, image: Image.Image, color: tuple[int, ...]) -> Image.Image:
    square = Image.new("RGB", (size, size), color)
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square


def _crop(steps: ImagePreprocess, image: Image.Image) -> Image.Image:
    image = _middle(image)
    short, short_to = min(image.size), steps.resize or steps.size
    width, height = (short_to if side == short else int(short_to * side / short) for side in image.size)
    large = image.resize((width, height), _FILTERS[steps.interpolation])
    round_half = round if steps.offset == "round" else int
    left, top = (round_half((side - steps.size) / 2) for side in large.size)
    return large.crop((left, top, left + steps.size, top + steps.size))


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a picture that is over LONG times as long as wide: the rest would be enlarged, then cropped."""
    limit = LONG * min(image.size)
    sides = [min(side, limit) for side in image.size]
    left, top = ((whole - kept) // 2 for whole, kept in zip(image.size, sides, strict=True))
    return image.crop((left, top, left + sides[0], top + sides[1]))


def _squash(steps: ImagePreprocess, image: Image.Image) -> Image.Image:
    return image.resize((steps.size, steps.size), _FILTERS[steps.interpolation])


_SQUARES: Mapping[str, Callable[[ImagePreprocess, Image.Image], Image.Image]] = {
    "fit": _fit,
    "pad": _pad,
    "crop": _crop,
    "squash": _squash,
}
_KNOWN = {"method": tuple(_SQUARES), "interpolation": tuple(_FILTERS), "offset": ("round", "floor")}


def _opened(file: IO[bytes], use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of an open picture file; to be called inside `_refusals`.

    Pillow refuses a PNG whose text or colour profile is large, which bears on no pixel: it is then left out.
    """
    try:
        with _open(file) as image:
            return use(image)
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
    file.seek(0)
    with _open(BytesIO(_without_text(file))) as image:
        return use(image)


def _open(file: IO[bytes]) -> Image.Image:
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC and "HEIF" not in Image.OPEN:  # pillow-heif registers it
        raise ImageError("HEIC, which Pillow cannot read: save it as JPEG or PNG")
    _register()
    return Image.open(file, formats=[*FORMATS, *(["HEIF"] if "HEIF" in Image.OPEN else [])])


@cache
def _register() -> None:
    """Load the readers of FORMATS, with the first picture; Image.open would load all fifty to find one."""
    for name in _PLUGINS:
        importlib.import_module(f"PIL.{name}ImagePlugin")


def _without_text(file: IO[bytes]) -> bytes:
    """A PNG file without its text and colour profile; damage to it stays."""
    parts = [file.read(len(_PNG))]
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[:4])
        if head[4:] in _PNG_TEXT:
            file.seek(size + 4, 1)
        else:
            parts += [head, file.read(size + 4)]
    return b"".join([*parts, head])


def _decode_stream(file: IO[bytes], name: str, at_least: int | None, frame: int) -> Image.Image:
    """RGB of an open picture file; to be called inside `_refusals`."""

    def pixels(image: Image.Image) -> Image.Image:
        if frame:
            image.seek(frame)
        _check_size(image, name)
        if at_least and image.format in _JPEG:
            width, height = (max(1, side * at_least // max(image.size)) for side in image.size)
            image.draft(None, (width, height))
        rgb = _to_rgb(image)
        rgb.info = {}  # profiles and EXIF can be megabytes, and a second turn would be wrong
        return rgb

    return _opened(file, pixels)


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn whatever the decoders raise into ImageError, and keep Pillow's own warnings quiet."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\b")
            yield
    except ImageError as error:
        if str(error).startswith(name):
            raise
        raise ImageError(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise ImageError(f"{name}: {_too_large(int(pixels[0]) if pixels else 0)}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a picture of a known kind ({', '.join(FORMATS)})") from error
    except OSError as error:
        raise ImageError(f"{name}: {error.strerror or error}") from error
    except Exception as error:
        # Broad on purpose: from bytes anyone may have written, Pillow raises SyntaxError, ValueError, EOFError,
        # IndexError, KeyError, TypeError, struct.error, zlib.error, MemoryError ... and adds to the list.
        raise ImageError(f"{name}: broken picture ({type(error).__name__}: {error})") from error


def _too_large(pixels: int, size: str = "") -> str:
    return f"{size}{pixels:,} pixels, more than the cap of {MAX_PIXELS:,}"


def _check_size(image: Image.Image, name: str) -> None:
    """Refuse by the header, before anything is decoded."""
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: {width} × {height} has no pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {_too_large(width * height, f'{width} × {height} = ')}")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{name}: {width} × {height} pixels, more than the cap of {MAX_SIDE:,} on a side")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001
        # A broken EXIF block says nothing about the pixels, and reading it may raise nearly any error.
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()  # first: reading EXIF may load too, and would hide that the file is cut off
    orientation = _orientation(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _deep_to_grey(image)
    elif image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size, _WHITE)
        image.paste(rgba, mask=rgba)
    elif image.mode == "LAB":
        image = _lab_to_rgb(image)
    elif image.mode != "RGB":
        image = image.convert("RGB")
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
        image.info = {}  # else a second decode would turn it again
    return image


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # 8 ms to import, and Lab pictures are rare

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """8-bit grey of a picture with 16 or 32 bits a pixel; Pillow's own conversion would clip at 255.

    "I;16" spans 0..65535. "I" and "F" have no fixed range: at most 1 (F only), 255 or 65535 is taken as white,
    whichever holds the largest value.
    """
    values = np.nan_to_num(np.asarray(image))
    white: float = 65535
    if image.mode in {"I", "F"}:
        most = values.max()
        white = 1 if most <= 1 and image.mode == "F" else 255 if most <= 255 else 65535
    grey = np.empty(values.shape, dtype=np.uint8)
    for y, row in enumerate(values):  # by rows: 50 megapixels of float64 would be 400 MB
        grey[y] = np.clip(np.rint(row * (255 / white)), 0, 255)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey)
