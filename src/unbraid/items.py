"""Items: texts, code snippets and images, and how their modality is found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from PIL import Image

from unbraid.errors import ItemError

Modality: TypeAlias = Literal["text", "code", "image"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

IMAGE_SUFFIXES = frozenset(".png .jpg .jpeg .jfif .webp .gif .bmp .tif .tiff .ico .avif .heic .heif".split())
CODE_SUFFIXES = frozenset(
    ".py .pyi .ipynb .js .mjs .cjs .jsx .ts .mts .cts .tsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hh .hpp .hxx"
    " .cs .go .rs .rb .php .swift .m .lua .pl .r .jl .sh .bash .zsh .fish .ps1 .sql .hs .ml .ex .exs .erl .clj"
    " .dart .zig .vue .css .scss .mk .cmake .gradle .proto .tf".split()
)


class Code(str):
    """A code snippet: a `str` that is encoded by the code encoder."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the type: a plain string of the same characters is another item."""
        return f"Code({str.__repr__(self)})"


Item: TypeAlias = str | Path | Image.Image


def suffix_modality(path: Path) -> Modality:
    """Modality of a file by its suffix: code, image, and text for every other suffix."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "code" if suffix in CODE_SUFFIXES else "text"


def item_modality(item: Item) -> Modality:
    """Modality of one item by its type, of a path by its suffix. Raises ItemError for any other type."""
    if isinstance(item, Code):
        return "code"
    if isinstance(item, str):
        return "text"
    if isinstance(item, Path):
        return suffix_modality(item)
    if isinstance(item, Image.Image):
        return "image"
    raise ItemError(
        f"cannot encode {type(item).__name__}: expected str, unbraid.Code, PIL.Image.Image or pathlib.Path"
    )


def check_items(items: Sequence[Item]) -> Sequence[Item]:
    """`items` itself when it is a sequence of items. Raises ItemError for a single item or a non-sequence."""
    if isinstance(items, str | Path | Image.Image | bytes):
        raise ItemError(f"encode takes a list of items, got one {type(items).__name__}: wrap it as [item]")
    if not isinstance(items, Sequence):
        raise ItemError(f"encode takes a list of items, got {type(items).__name__}: pass list(items)")
    return items
