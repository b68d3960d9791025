"""unbraid.json: what an index was made with. Vectors of another base or length cannot be compared with its own."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from unbraid.errors import StoreError
from unbraid.index.store.bm25 import VERSION
from unbraid.index.store.storage import Storage
from unbraid.io.atomic import write_atomic

# Of new indexes. Since 4 the empty ends of an index's files are cut (tails.py), which a version that reads 3 does not know, and
# candidates may be "auto". Of 3 that version chose "exact" by default, so there "exact" means "auto", and is written as before.
FORMAT = 4
READABLE = (3, FORMAT)
META_FILE = "unbraid.json"
SHARD_FOLDER = "shard"


@dataclass(frozen=True)
class Provenance:
    """The bundle that an index was made with.

    Encoder ids cover weights, tokenizer and preprocessing; `base_id` of an index is made from them. Mapper ids are
    recorded but not checked: any mapper of the same base may search the index.
    """

    bundle: str = ""  # name and version
    bundle_id: str = ""
    encoders: Mapping[str, str] = field(default_factory=dict)  # modality -> id
    mappers: Mapping[str, str] = field(default_factory=dict)  # task -> id
    # That one of its tiers at least was trained on; empty where it does not say.
    languages: tuple[str, ...] = ()
    # Where items were converted instead of encoded: what they were converted from.
    converted: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Meta:
    """What `unbraid.json` says."""

    format: int
    base_id: str
    dim: int  # of a base vector
    storage: Storage
    unbraid: str
    # The folder of the Edge store beside unbraid.json; a repair writes another folder and changes this last.
    shard: str = SHARD_FOLDER
    provenance: Provenance = field(default_factory=Provenance)
    words: int = VERSION  # of bm25.py that its words are of


def readable_formats() -> str:
    """The formats that this version reads, for an error."""
    return " and ".join(map(str, READABLE))


def meta_of_model(model: Any, storage: Storage | None = None) -> Meta:
    """What a new index of `model` says; vectors are kept whole and in float32 unless `storage` says otherwise."""
    try:
        version = metadata.version("unbraid")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        version = "unknown"
    origin = Provenance()  # of a model without a bundle
    if bundle := getattr(model, "bundle", None):
        encoders = {name: spec.id for name, spec in bundle.tiers[model.tier].items()}
        if bundle.image:
            encoders["image"] = bundle.image.id
        mappers = {task: spec.id for task, spec in bundle.mappers.items()}
        specs = [spec for tier in bundle.tiers.values() for spec in tier.values()]
        languages = tuple(sorted({language for spec in specs for language in spec.languages}))
        origin = Provenance(model.name, bundle.id, encoders, mappers, languages)
    kept = storage or Storage(model.dim)
    return Meta(FORMAT, model.base_id, model.dim, kept, version, SHARD_FOLDER, origin)


def match(place: str, held: Meta, new: Meta, pictures: Callable[[], int]) -> Meta:
    """`held`, what the index at `place` says, with the image encoder of `new`: bundles of one base may differ in it.

    Raises StoreError when vectors of `new` cannot be compared with those of the index, or when it holds `pictures` of
    another image encoder; it says what to do.
    """
    made_with = held.provenance
    if (held.base_id, held.dim) != (new.base_id, new.dim):
        made_by = f" by {made_with.bundle}" if made_with.bundle else ""
        model = f"the model ({new.provenance.bundle})" if new.provenance.bundle else "the model"
        raise StoreError(
            f"{place} holds vectors of base {held.base_id} ({held.dim} dimensions){made_by}, {model} makes"
            f" {new.base_id} ({new.dim} dimensions), which do not compare: give the bundle it was made with as --model, or"
            " encode again: unbraid index PATH... --into ANOTHER_FOLDER, or convert it: unbraid index convert INDEX --into"
            " ANOTHER_FOLDER"
        )
    theirs, ours = (one.encoders.get("image") for one in (new.provenance, made_with))
    if theirs is None or theirs == ours:
        return held
    if ours is not None and (count := pictures()):
        raise StoreError(
            f"{place} holds {count} pictures by the image encoder {ours}, and that of {new.provenance.bundle} is {theirs}: "
            "their vectors are not comparable. Give the bundle it was made with as --model, or encode again: unbraid index "
            "PATH... --into ANOTHER_FOLDER"
        )
    return replace(held, provenance=replace(made_with, encoders={**made_with.encoders, "image": theirs}))


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
        raise StoreError(f"cannot read {path}: it is not the {META_FILE} of an index; make the index again")
    if about["format"] not in READABLE:
        raise StoreError(
            f"{path} has format {about['format']}, this unbraid reads {readable_formats()}; index again into another folder: "
            "unbraid index PATH... --into FOLDER"
        )
    try:
        if about.pop("checksum") != _checksum(about):
            raise ValueError("its checksum does not match")
        return parse_meta(about)
    except (ValueError, TypeError, KeyError, StoreError) as error:
        raise StoreError(f"cannot read {path}: {error!r}; make the index again") from error


def parse_meta(about: Mapping[str, Any]) -> Meta:
    """The Meta that `describe` wrote as `about`. Raises TypeError, KeyError or StoreError for anything else."""
    origin = Provenance(**about["provenance"])
    origin = replace(origin, languages=tuple(origin.languages))
    storage = Storage(**about["storage"])
    if about["format"] < FORMAT and storage.candidates == "exact":
        storage = replace(storage, candidates="auto")
    # An index that does not say is from before words had a version.
    return Meta(**{"words": 1, **about, "storage": storage, "provenance": origin})


def describe(meta: Meta) -> dict[str, Any]:
    """`meta` as JSON, which a version that knows its format can read."""
    about = asdict(meta)
    if meta.format < FORMAT and meta.storage.candidates == "auto":
        about["storage"]["candidates"] = "exact"
    return about


def write_meta(folder: Path, meta: Meta) -> None:
    """Write `unbraid.json` whole or not at all, also through a power cut."""
    about = describe(meta)
    text = json.dumps({**about, "checksum": _checksum(about)}, indent=1)
    write_atomic(folder / META_FILE, text.encode())


def _checksum(about: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=8).hexdigest()
