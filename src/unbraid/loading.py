"""`load`: from a name to an embedder."""

import os
import re
from pathlib import Path

from unbraid.bundle import MANIFEST, PRECISIONS, SMALL, read_bundle
from unbraid.embedder import Embedder
from unbraid.errors import BundleError
from unbraid.runtime.picks import saved_picks

STARTER = Path(__file__).parent / "starter"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def load(
    source: str | Path | None = None,
    *,
    revision: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    tier: str = SMALL,
) -> Embedder:
    """An embedder from the starter inside the package (None or "starter"), a bundle folder, or a hub id "org/name".

    `revision` pins a hub id. `threads` is how many batches run at a time, `precision` "int8" or "fp32" picks
    graphs where the bundle has both (by default what `unbraid doctor --save` found fastest on this machine, or else the
    bundle's own default), `tier` "small" or "nano" the text encoders where the bundle has a nano tier:
    much faster, less exact, in the same base space. Every file is verified before it is used. Raises BundleError
    when the bundle is not found or refused, or lacks the tier.
    """
    if precision not in (None, *PRECISIONS):
        raise BundleError(f"precision {precision!r} is not known: expected one of {', '.join(PRECISIONS)}")
    folder = STARTER if source is None or source == STARTER.name else Path(source)
    if not os.path.exists(folder):  # Path.exists raises for a name that is too long
        folder = _from_hub(str(source), revision)
    bundle = read_bundle(folder)
    return Embedder(bundle, threads=threads, precision=precision or saved_picks(bundle.id), tier=tier)


def _from_hub(name: str, revision: str | None) -> Path:
    """The local copy of a hub repository; only what bundles are made of is fetched."""
    if not _HUB_ID.fullmatch(name):
        raise BundleError(f"{name}: no such folder, and not a hub id of the form org/name")
    from huggingface_hub import snapshot_download

    try:
        # A hub cache keeps files as links to blobs outside the snapshot folder, which `verify_file` refuses.
        place = Path.home() / ".cache" / "unbraid" / name / (revision or "main")
        snapshot_download(
            name,
            revision=revision,
            local_dir=place,
            allow_patterns=[MANIFEST, "*.onnx", "*.json", "README.md"],
        )
    except Exception as error:  # the hub client's own classes, those of its HTTP library, OSError, ValueError
        raise BundleError(f"{name}: cannot be fetched from the hub: {error}") from error
    return place
