"""unbraid.json: what an index was made with. Vectors of another base or length are not comparable with its own."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from unbraid.embedder import Embedder
from unbraid.errors import StoreError
from unbraid.index.store.vector_storage import Storage
from unbraid.io.atomic import write_atomic

FORMAT = 3
META_FILE = "unbraid.json"
SHARD_FOLDER = "shard"


@dataclass(frozen=True)
class Provenance:
    """The bundle that an index was made with.

    Encoder ids cover weights, tokenizer and preprocessing; `base_id` of an index is made from them. Mapper ids are
    written down but bind nobody: any mapper of the same base may search the index.
    """

    bundle: str = ""  # name and version
    bundle_id: str = ""
    encoders: Mapping[str, str] = field(default_factory=dict)  # modality -> id
    mappers: Mapping[str, str] = field(default_factory=dict)  # task -> id
    converted: Mapping[str, Any] = field(
        default_factory=dict
    )  # where items were not encoded but converted: from what


@dataclass(frozen=True)
class Meta:
    """What `unbraid.json` says."""

    format: int
    base_id: str
    dim: int  # of a base vector
    storage: Storage
    unbraid: str
    shard: str = (
        SHARD_FOLDER  # the folder beside it that counts; a repair writes another and changes this last
    )
    provenance: Provenance = field(default_factory=Provenance)


def provenance(model: Embedder) -> Provenance:
    """Where the base vectors of `model` come from."""
    bundle = model.bundle
    encoders = {name: spec.id for name, spec in bundle.tiers[model.tier].items()}
    if bundle.image:
        encoders["image"] = bundle.image.id
    mappers = {task: spec.id for task, spec in bundle.mappers.items()}
    return Provenance(model.name, bundle.id, encoders, mappers)


def read_meta(folder: str | Path) -> Meta:
    """What the index in `folder` was made with, without opening it. Raises StoreError when it is not an index."""
    path = Path(folder) / META_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{folder} is not an unbraid index: it has no {META_FILE}") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}; make the index again") from error
    if not isinstance(about, dict) or "format" not in about:
        raise StoreError(f"cannot read {path}: it is not what an index begins with; make the index again")
    if about["format"] != FORMAT:
        raise StoreError(
            f"{path} has format {about['format']}, this unbraid reads {FORMAT}; index again into another folder: "
            "unbraid index PATH... --into FOLDER"
        )
    try:
        if about.pop("checksum") != _checksum(about):
            raise ValueError("its checksum does not match")
        return meta_of(about)
    except (ValueError, TypeError, KeyError, StoreError) as error:
        raise StoreError(f"cannot read {path}: {error!r}; make the index again") from error


def meta_of(about: Mapping[str, Any]) -> Meta:
    """What `asdict` made of a Meta. Raises TypeError, KeyError or StoreError for anything else."""
    parts = {"storage": Storage(**about["storage"]), "provenance": Provenance(**about["provenance"])}
    return Meta(**{**about, **parts})


def write_meta(folder: Path, meta: Meta) -> None:
    """Write `unbraid.json` whole or not at all, also through a power cut."""
    about = asdict(meta)
    text = json.dumps({**about, "checksum": _checksum(about)}, indent=1)
    write_atomic(folder / META_FILE, text.encode())


def vacant(folder: Path) -> bool:
    """Whether an index can be made at `folder`: there is nothing, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def metadata_version() -> str:
    """Version of the installed unbraid, or "unknown" when it runs from a checkout that is not installed."""
    try:
        return metadata.version("unbraid")
    except metadata.PackageNotFoundError:
        return "unknown"


def _checksum(about: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=8).hexdigest()
