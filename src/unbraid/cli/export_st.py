"""`unbraid export-st`: a bundle for sentence-transformers."""

from pathlib import Path
from typing import Annotated

import typer

from unbraid.errors import require
from unbraid.loading import load


def export_st(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help='Bundle folder, hub id org/name, or "starter".')
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The new folder; an older one of its kind is replaced.")
    ],
    tier: Annotated[
        str | None,
        typer.Option(help="Encodes every text; by default the bundle's tiers for English."),
    ] = None,
) -> None:
    """Write a bundle as a folder of sentence-transformers, which loads without remote code.

    Tasks are tasks there too: encode_query, encode_document, encode(task="symmetric"). Pictures stay out. The
    weights are read from the bundle's graphs, and the written folder is compared with them.
    """
    require("onnx", "export")
    require("sentence_transformers", "export")
    from unbraid.stock_modules import export_stock_folder

    source = load(bundle, tier=tier).bundle
    written = export_stock_folder(source, folder, tier=tier)
    typer.echo(f"{folder}: tasks {', '.join(written.tasks)}")
    numbers = "float32 graphs" if not written.rounded else "weights, run in float32"
    typer.echo(f"largest difference from the bundle's {numbers}: {written.largest_difference:.1e}")
    if written.rounded:
        typer.echo(
            f"cosine to the bundle's own vectors, which int8 rounds: mean {written.mean_cosine:.4f}, "
            f"least {written.least_cosine:.4f}"
        )
    if written.left_out:
        typer.echo(f"left out: {', '.join(written.left_out)}", err=True)
