"""`unbraid adopt`: a model of another library becomes a bundle."""

from pathlib import Path
from typing import Annotated

import typer


def adopt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a model, or a hub id org/name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle.")],
) -> None:
    """Make a bundle of a model that others trained; nothing is trained."""
    from unbraid.adopt import adopt as run

    for parity in run(model, out):
        typer.echo(f"{parity.graph}: largest difference {parity.largest_difference:.1e}")
    typer.echo(f"{out} written: use it as --model {out}", err=True)
