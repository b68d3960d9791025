"""`load`: from a name to an embedder."""

import os
from pathlib import Path

from unbraid.bundle import MANIFEST, PRECISIONS, SMALL, read_bundle
from unbraid.embedder import Embedder
from unbraid.errors import BundleError, DataError
from unbraid.io.hub import fetch

STARTER = Path(__file__).parent / "starter"


def load(
    source: str | Path | None = None,
    *,
    revision: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    tier: str = SMALL,
) -> Embedder:
    """An embedder from the starter inside the package (None or "starter"), a bundle folder, or a hub id "org/name".

    `revision` pins a hub id. `threads` is how many batches run at a time. `precision` "int8" or "fp32" picks the
    encoders' graphs where the bundle has both; the default is the bundle's own. `tier` "nano" picks nano text encoders
    where the bundle has them: much faster, less exact, in the same base space. Every file is verified before it is
    used. Raises BundleError when the bundle is not found or refused, or lacks the tier.
    """
    if precision not in (None, *PRECISIONS):
        raise BundleError(f"precision {precision!r} is not known: expected one of {', '.join(PRECISIONS)}")
    folder = STARTER if source is None or source == STARTER.name else Path(source)
    if not os.path.exists(folder):  # Path.exists raises for a name that is too long
        # A hub cache keeps files as links to blobs outside the snapshot folder, which `verify_file` refuses.
        place = Path.home() / ".cache" / "unbraid" / str(source) / (revision or "main")
        try:
            folder = fetch(str(source), revision, [MANIFEST, "*.onnx", "*.json", "README.md"], place)
        except DataError as error:
            raise BundleError(str(error)) from error
    return Embedder(read_bundle(folder), threads=threads, precision=precision, tier=tier)
