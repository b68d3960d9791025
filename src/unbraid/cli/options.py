"""What the command files share: options with one meaning, and checks before any work."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from unbraid.custom_mapper.mapper_file import SUFFIX, OwnMapper, read_mapper
from unbraid.errors import MissingExtraError
from unbraid.vectors import VECTOR_PRECISIONS


def one_of(choices: tuple[str, ...]) -> Callable[[str | None], str | None]:
    """A check of an option's value; anything but one of `choices` is wrong use."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return check


Model = Annotated[
    str | None, typer.Option("--model", help="A bundle folder or hub id org/name; starter, if left out.")
]
Tier = Annotated[
    str,
    typer.Option("--tier", help="Text encoders: small, or nano where the bundle has it: faster, less exact."),
]
Threads = Annotated[
    int | None, typer.Option(help="Batches run at a time; all usable cores if left out.", min=1)
]
Side = Annotated[
    str | None,
    typer.Option(
        "--side",
        help="query or document, for a .mapper whose sides differ.",
        callback=one_of(("query", "document")),
    ),
]
Dim = Annotated[int | None, typer.Option("--dim", help="512, 256, 128 or 64 dimensions.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", help=f"{', '.join(VECTOR_PRECISIONS)} numbers.", callback=one_of(VECTOR_PRECISIONS)
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; a GPU where there is one.")]


def require(package: str, extra: str) -> None:
    """Raise MissingExtraError that names the `extra` when `package` is not installed."""
    if find_spec(package) is None:
        raise MissingExtraError(package, extra)


def own_mapper(name: str | None) -> OwnMapper | None:
    """The mapper of a task or mode that names a file; None for one that is part of the bundle."""
    return read_mapper(Path(name)) if name is not None and name.endswith(SUFFIX) else None
