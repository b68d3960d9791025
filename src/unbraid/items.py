"""Items: texts, code snippets and images, and how their modality is found."""

import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath
from typing import Literal, Self, TypeAlias, TypeVar, get_args

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
    """A code snippet: a `str` that is encoded by the code encoder. Raises ItemError for anything but a str."""

    __slots__ = ()

    def __new__(cls, text: str = "") -> Self:
        """`text` as code."""
        if not isinstance(text, str):
            raise ItemError(f"Code takes a str, got {type(text).__name__}")
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        """Show the type: a plain string of the same characters is another item."""
        return f"Code({str.__repr__(self)})"


Item: TypeAlias = str | Path | Image.Image
T = TypeVar("T")


def suffix_modality(path: str | PurePath) -> Modality:
    """Modality of a file by its suffix: code, image, and text for every other suffix."""
    return modality_of(os.path.splitext(path)[1].lower())


def modality_of(suffix: str) -> Modality:
    """Modality of files of a suffix, in lower case and with its dot."""
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


def check_items(items: Iterable[T]) -> Sequence[T]:
    """`items` as a sequence: a list, an array, a column, a generator. Raises ItemError for anything else.

    So it does for a single item, for what has no order, and for a table, of which the names would be encoded.
    """
    if isinstance(items, str | Path | Image.Image | bytes):
        raise ItemError(f"encode takes a list of items, got one {type(items).__name__}: wrap it as [item]")
    name = type(items).__name__
    if isinstance(items, Mapping | AbstractSet) or getattr(items, "ndim", 1) != 1:
        raise ItemError(
            f"encode takes a list of items, got a {name}: pass a list of its values, or one column of it"
        )
    if isinstance(items, list | tuple):
        return items
    try:
        return list(items)
    except TypeError:
        raise ItemError(f"encode takes a list of items, got {name}") from None
