"""Options that several commands share, with one meaning each, and checks before any work."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.custom_mapper.mapper_file import SUFFIX, CustomMapper, read_mapper
from unbraid.sizes import read_size
from unbraid.vectors import NUMBERS


def one_of(choices: tuple[str, ...]) -> Callable[[str | None], str | None]:
    """A check of an option's value: anything but one of `choices` is wrong use."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return check


def _size(text: str) -> int:
    """Bytes of a size that is typed."""
    found = read_size(str(text))
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size, such as 500kB or 20MB")
    return found


Model = Annotated[
    str | None, typer.Option("--model", help="Bundle folder or hub id org/name; default: the starter.")
]
Tier = Annotated[
    str | None,
    typer.Option("--tier", help="small, base, multi or nano; by default chosen by language."),
]
Language = Annotated[
    str | None,
    typer.Option("--language", help="Language of all texts, such as de; by default found in each of them."),
]
Threads = Annotated[
    int | None, typer.Option(help="Batches that run at a time; default: all usable cores.", min=1)
]
Side = Annotated[
    str | None,
    typer.Option(
        "--side",
        help="query or document, for a .mapper file whose sides differ.",
        callback=one_of(("query", "document")),
    ),
]
Dim = Annotated[
    int | None,
    typer.Option(
        "--dim", help="Fewer dimensions, as the bundle supports them: 256, 128 or 64 of the starter's 512."
    ),
]
StoredNumbers = Annotated[
    str,
    typer.Option(
        "--numbers", help=f"Store vectors as {', '.join(NUMBERS)} numbers.", callback=one_of(NUMBERS)
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Only files that match, or lie in a folder that does: '*.md', 'docs/'; may be given several times.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Leave out what matches, as a line of a .gitignore: '*.log', 'build/'; may be given several times.",
    ),
]
Hidden = Annotated[
    bool | None, typer.Option("--hidden/--no-hidden", help="Hidden files and folders too, or not.")
]
MaxSize = Annotated[
    int | None,
    typer.Option(
        metavar="SIZE",
        parser=_size,
        help="Leave out larger files, such as 500kB or 20MB. Default: 4 MiB; 50 MiB for pictures, PDF, documents and archives; 32 MiB for notebooks.",
    ),
]
Ocr = Annotated[
    bool | None,
    typer.Option("--ocr/--no-ocr", help="Read the words in pictures and in scanned pages, or not."),
]
PageImages = Annotated[
    bool | None,
    typer.Option(
        "--page-images/--no-page-images",
        help="Find every page of a PDF by what it shows too, not only scans.",
    ),
]
Archives = Annotated[
    bool | None,
    typer.Option(
        "--archives/--no-archives",
        help="Read the files in zip and tar archives too, and in .gz, .bz2 and .xz files.",
    ),
]
MultiVector = Annotated[
    bool | None,
    typer.Option(
        "--multi-vector/--no-multi-vector",
        help="Store what a second look at results needs: they are ranked better, and indexing takes three to six times as long.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]


def show(about: Mapping[str, Any], as_json: bool, width: int = 14) -> None:
    """Print `about`: a line for each entry, or one JSON object."""
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
    else:
        for name, value in about.items():
            typer.echo(f"{name:{width}s}{value}")


def custom_mapper(name: str | None) -> CustomMapper | None:
    """The mapper of a task or mode that names a .mapper file; None for a task or mode of the bundle."""
    return read_mapper(Path(name)) if name is not None and name.endswith(SUFFIX) else None
