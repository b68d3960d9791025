"""A bundle: the folder that the CPU runtime loads. Reads and verifies it; unhashed files are refused.

bundle.json names every other file with its size and sha256. A bundle is refused, with the name of the file, when a
file is missing or differs, a path leaves the folder, the format is unknown, or a graph keeps its weights in another
file (onnxruntime would read whatever path the graph names).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from unbraid.errors import BundleError
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.items import MODALITIES
from unbraid.runtime.preprocess import ImagePreprocess

FORMAT = 1
MANIFEST = "bundle.json"
STARTER = Path(__file__).parent / "starter"  # the bundle in the package
PRECISIONS = ("int8", "fp32")  # of graphs
SMALL: Final = "small"  # the tier of text encoders that every bundle has
# An ONNX file names external weights by an entry whose key is the string "location": this tag, length and word
# (onnx.proto3, StringStringEntryProto.key). Tag and length may be written longer than needed.
_EXTERNAL_DATA = re.compile(rb"(\x0a|\x8a\x80*\x00)(\x08|\x88\x80*\x00)location")


@dataclass(frozen=True)
class MultiVectorSpec:
    """The head of a text or code encoder that gives a vector for each token."""

    id: str
    # Precision of the encoder's graph -> what is appended to that file: protobuf joins the two to one graph with the outputs
    # multi_vectors float32 [B, T, dim] and weights float32 [B, T] beside its own. So the encoder is stored once.
    graphs: Mapping[str, str]
    dim: int
    # Log odds of a candidate of a search whose MaxSim is 1 above the mean of the best (index/search/second_look.py). Scores are
    # not divided by their spread, so that small differences stay small.
    look: float = 7.0
    # The same of the cosine of base vectors by this head's encoder, for passages that another one put in the index.
    whole: float = 0.0


@dataclass(frozen=True)
class TextSpec:
    """A text or code encoder of a bundle."""

    id: str
    graphs: Mapping[str, str]  # precision -> file; the first is the default
    tokenizer: str
    max_tokens: int
    split_identifiers: bool
    # Precision -> a graph from token ids to token vectors, which `graphs` take in place of ids. Tiers with the same
    # token vectors share it. Empty: `graphs` take ids.
    token_graphs: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[str, ...] = ()  # that it was trained on; empty in bundles that do not say
    # Padded tokens in one run; a longer text runs alone. One text at a time costs a transformer at most a tenth of its
    # speed on a CPU, and its int8 vectors do not depend on other texts (benchmarks/batching.py, docs/decisions.md).
    batch_tokens: int = 1
    prefix: str = ""  # put before every text and code, as a model with prompts was trained; part of `id`
    multi_vector: MultiVectorSpec | None = None


@dataclass(frozen=True)
class ImageSpec:
    """The image encoder of a bundle."""

    id: str
    graphs: Mapping[str, str]
    preprocess: ImagePreprocess


@dataclass(frozen=True)
class MapperSpec:
    """A task mapper of a bundle."""

    id: str
    kind: str
    graphs: Mapping[str, str]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: the content of bundle.json, and its folder."""

    folder: Path
    name: str
    version: str
    id: str  # of everything in the bundle
    base_id: str  # of the base space: vectors of different base ids must not be mixed
    dim: int
    dims: tuple[int, ...]  # supported truncations, largest first
    tiers: Mapping[str, Mapping[str, TextSpec]]  # tier -> "text" and, where the bundle has it, "code"
    image: ImageSpec | None
    mappers: Mapping[str, MapperSpec]  # task -> mapper
    search_modes: Mapping[str, tuple[str, str]]  # mode -> (query task, document task)
    document_tier: str  # of English texts and code, where the caller names none
    query_tier: str  # of English queries, where the caller names none
    licences: Mapping[str, str]
    scores: Mapping[str, Any]
    sizes: Mapping[str, int]  # file -> bytes
    # What a search ranks by (index/search/relevance.py); empty in bundles that do not say.
    relevance: Mapping[str, Any] = field(default_factory=dict)
    # Whose token vectors an index stores for a second look, of passages that any tier encodes; "": each passage's own tier's.
    look_tier: str = ""

    @property
    def text(self) -> Mapping[str, TextSpec]:
        """The text and code encoders of the tier small, which every bundle has."""
        return self.tiers[SMALL]

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the bundle encodes, in the order text, code, image."""
        return (*self.tiers[SMALL], *(("image",) if self.image else ()))

    @property
    def graphs(self) -> dict[str, Mapping[str, str]]:
        """Graph files by precision, for every encoder and mapper by its name; "nano text" is text of that tier."""
        image = {"image": self.image.graphs} if self.image else {}
        mappers = {f"{task} mapper": spec.graphs for task, spec in self.mappers.items()}
        text, further = {}, {}
        for tier, specs in self.tiers.items():
            for name, spec in specs.items():
                text[graph_name(tier, name)] = spec.graphs
                if spec.token_graphs:
                    further[f"{graph_name(tier, name)} tokens"] = spec.token_graphs
                if spec.multi_vector:
                    further[f"{graph_name(tier, name)} multi-vector"] = spec.multi_vector.graphs
        return text | further | image | mappers


def graph_name(tier: str, modality: str) -> str:
    """The name of a text or code encoder among all graphs of a bundle."""
    return modality if tier == SMALL else f"{tier} {modality}"


def read_bundle(folder: Path) -> Bundle:
    """Read and verify the bundle in `folder`. Raises BundleError naming the file that is wrong."""
    manifest = folder / MANIFEST
    try:
        about = json.loads(manifest.read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(f"{manifest}: cannot be read ({reason}): not a bundle folder") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{manifest}: not valid JSON: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise BundleError(
            f"{manifest}: format {found!r} is not known; this version of unbraid reads format {FORMAT}: "
            "upgrade unbraid, or export the bundle again"
        )
    try:
        bundle = _parse(folder, about)
        _check_values(bundle)
        hashes = {str(name): str(entry["sha256"]) for name, entry in about["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BundleError(f"{manifest}: entry missing or malformed: {error!r}") from error
    _check_references(manifest, bundle, hashes)
    for name, expected in hashes.items():
        verify_file(folder, name, expected, bundle.sizes[name])
    if about.get("sha256") != manifest_hash(about):
        raise BundleError(f"{manifest}: damaged: its own sha256 does not match: copy the bundle again")
    return bundle


def manifest_hash(about: Mapping[str, Any]) -> str:
    """sha256 of a manifest without its own `sha256` entry; the order of its keys counts."""
    rest = {key: value for key, value in about.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()


def verify_file(folder: Path, name: str, sha256: str, size: int) -> None:
    """Raise BundleError unless `name` lies inside `folder`, has this size and hash, and is self-contained."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise BundleError(f"{folder / MANIFEST}: file {name!r} leaves the bundle folder: refused")
    if not name.isprintable():  # NUL, lone surrogates: no file can be asked for by such a name
        raise BundleError(f"{folder / MANIFEST}: {name!r} is not a file name: refused")
    place = folder / name
    try:
        if not place.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{place}: a link that leaves the bundle folder: refused")
        content = place.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f"{place}: cannot be read ({reason}): copy the bundle again") from error
    found = hashlib.sha256(content).hexdigest()
    if len(content) != size or found != sha256:
        raise BundleError(
            f"{place}: damaged: {len(content)} bytes with sha256 {found[:12]}…, "
            f"expected {size} bytes with {sha256[:12]}…: copy the bundle again"
        )
    if name.endswith(".onnx") and b"location" in content and _EXTERNAL_DATA.search(content):
        raise BundleError(f"{place}: keeps weights in another file (ONNX external data): refused")


def _parse(folder: Path, about: dict[str, Any]) -> Bundle:
    modalities = dict(about["modalities"])
    image = modalities.pop("image", None)
    return Bundle(
        folder=folder,
        name=str(about["name"]),
        version=str(about["version"]),
        id=str(about["id"]),
        base_id=str(about["base_id"]),
        dim=int(about["dim"]),
        dims=tuple(int(dim) for dim in about["dims"]),
        tiers=_tiers(modalities, about.get("tiers", {})),
        image=ImageSpec(
            str(image["id"]),
            _graphs(image),
            _preprocess(image),
        )
        if image
        else None,
        mappers={
            task: MapperSpec(str(spec["id"]), str(spec["kind"]), _graphs(spec))
            for task, spec in about["mappers"].items()
        },
        search_modes={
            mode: (str(query), str(document)) for mode, (query, document) in about["search_modes"].items()
        },
        document_tier=str(about.get("document_tier", SMALL)),
        query_tier=str(about.get("query_tier", SMALL)),
        licences=dict(about["licences"]),
        scores=dict(about["scores"]),
        sizes={str(name): int(entry["bytes"]) for name, entry in about["files"].items()},
        relevance=dict(about.get("relevance", {})),
        look_tier=str(about.get("look_tier", "")),
    )


def _tiers(small: dict[str, Any], further: dict[str, Any]) -> dict[str, dict[str, TextSpec]]:
    """Text encoders by tier. Raises ValueError when a further tier has the name of the first."""
    if SMALL in further:
        raise ValueError(f"tiers has {SMALL!r}, which is what modalities holds")
    return {
        tier: {
            name: TextSpec(
                id=str(spec["id"]),
                graphs=_graphs(spec),
                tokenizer=str(_reading(spec)["tokenizer"]),
                max_tokens=int(spec["max_tokens"]),
                split_identifiers=bool(spec["split_identifiers"]),
                token_graphs={str(one): str(file) for one, file in spec.get("token_graphs", {}).items()},
                languages=tuple(str(language) for language in spec.get("languages", ())),
                batch_tokens=int(spec.get("batch_tokens", TextSpec.batch_tokens)),
                prefix=_prefix(_reading(spec).get("prefix", "")),
                multi_vector=_multi_vector(spec.get("multi_vector")),
            )
            for name, spec in specs.items()
        }
        for tier, specs in {SMALL: small, **further}.items()
    }


def _multi_vector(spec: Mapping[str, Any] | None) -> MultiVectorSpec | None:
    if not spec:
        return None
    return MultiVectorSpec(
        id=str(spec["id"]),
        graphs=_graphs(spec),
        dim=int(spec["dim"]),
        look=float(spec.get("look", MultiVectorSpec.look)),
        whole=float(spec.get("whole", MultiVectorSpec.whole)),
    )


def _graphs(spec: Mapping[str, Any]) -> dict[str, str]:
    return {str(precision): str(file) for precision, file in spec["graphs"].items()}


def text_entry(spec: TextSpec) -> dict[str, Any]:
    """What bundle.json says of a text or code encoder.

    A prefix stands with the tokenizer in an entry of its own: a version of before, which knows no prefix, then misses
    `tokenizer` and refuses the bundle, where it would otherwise give vectors of texts without the prefix.
    """
    entry = {key: value for key, value in asdict(spec).items() if value not in ("", {}, (), None)}
    if spec.prefix:
        entry["reading"] = {key: entry.pop(key) for key in ("tokenizer", "prefix")}
    return entry


def _reading(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = entry.get("reading", entry)
    return found


def preprocess_entries(preprocess: ImagePreprocess) -> dict[str, Any]:
    """What the entry `image` of bundle.json says of pixels.

    All but "fit" stand in an entry of their own: a version of before, which knows no other, then misses `size` and refuses
    the bundle, where it would otherwise give vectors of differently prepared pictures.
    """
    if preprocess.method != "fit":
        return {"preprocess": asdict(preprocess)}
    return {"size": preprocess.size, "mean": preprocess.mean, "std": preprocess.std}


def _preprocess(image: Mapping[str, Any]) -> ImagePreprocess:
    """The reverse. Raises KeyError, TypeError or ValueError for entries that are missing, unknown or wrong."""
    if "preprocess" not in image:
        return ImagePreprocess(int(image["size"]), image["mean"], image["std"])
    return ImagePreprocess(**dict(image["preprocess"]))


def _prefix(found: Any) -> str:
    """`found` itself. Raises ValueError for what is no text that a tokenizer reads."""
    if not isinstance(found, str) or found != replace_lone_surrogates(found):
        raise ValueError(f"prefix is {found!r}, expected a text")
    return found


def _check_values(bundle: Bundle) -> None:
    """Raise ValueError for modalities and numbers that no bundle can have."""
    if unknown := set(bundle.modalities) - set(MODALITIES):
        raise ValueError(f"modalities {sorted(unknown)} are not known: expected some of {MODALITIES}")
    if bundle.dim not in bundle.dims or not all(0 < dim <= bundle.dim for dim in bundle.dims):
        raise ValueError(f"dims are {list(bundle.dims)}, expected {bundle.dim} (dim) and smaller ones")
    for tier, specs in bundle.tiers.items():
        if set(specs) != set(bundle.text):
            raise ValueError(f"tier {tier} encodes {sorted(specs)}, expected {sorted(bundle.text)}")
    if unknown := {bundle.document_tier, bundle.query_tier} - set(bundle.tiers):
        raise ValueError(f"default tiers {sorted(unknown)} are not among {sorted(bundle.tiers)}")
    if bundle.look_tier and not any(
        spec.multi_vector for spec in bundle.tiers.get(bundle.look_tier, {}).values()
    ):
        raise ValueError(f"look_tier is {bundle.look_tier!r}, which has no multi-vectors")
    for name, spec in (item for specs in bundle.tiers.values() for item in specs.items()):
        if (head := spec.multi_vector) and not (0 < head.look < 1_000 and 0 <= head.whole < 1_000):
            raise ValueError(
                f"multi-vectors of {name} have look {head.look} and whole {head.whole}: expected look over 0, whole from 0, both "
                "below 1,000"
            )
        if head and head.whole and (bundle.dim % 2 or bundle.dim > 4_096):
            raise ValueError(
                f"whole of {name} is {head.whole}: base vectors of {bundle.dim} numbers cannot be stored for it"
            )
        if spec.token_graphs and set(spec.token_graphs) != set(spec.graphs):
            raise ValueError(
                f"{name} has graphs {sorted(spec.graphs)} and token graphs {sorted(spec.token_graphs)}"
            )
        if not 2 < spec.max_tokens < 1 << 20:  # below, a tokenizer would quietly not truncate at all
            raise ValueError(f"max_tokens of {name} is {spec.max_tokens}")
        if not 0 < spec.batch_tokens < 1 << 20:  # above, a run may not fit the memory
            raise ValueError(f"batch_tokens of {name} is {spec.batch_tokens}")


def _check_references(manifest: Path, bundle: Bundle, hashes: Mapping[str, str]) -> None:
    """Raise BundleError unless every graph and tokenizer is among the hashed files, and every task has a mapper."""
    for kinds in bundle.graphs.values():
        if not kinds or set(kinds) - set(PRECISIONS):
            raise BundleError(f"{manifest}: graphs of precisions {sorted(kinds)}, expected {PRECISIONS}")
    for name, spec in (item for specs in bundle.tiers.values() for item in specs.items()):
        if (head := spec.multi_vector) and (
            set(head.graphs) - set(spec.graphs) or head.dim < 2 or head.dim % 2
        ):
            raise BundleError(
                f"{manifest}: the multi-vector head of {name} has graphs {sorted(head.graphs)} and dim {head.dim}: expected "
                f"some of {sorted(spec.graphs)} and an even number"
            )
    graphs = [file for kinds in bundle.graphs.values() for file in kinds.values()]
    for file in graphs:
        if not file.endswith(".onnx"):  # only those are searched for external data
            raise BundleError(f"{manifest}: graph {file!r} is not an .onnx file: refused")
    tokenizers = [spec.tokenizer for specs in bundle.tiers.values() for spec in specs.values()]
    for file in [*graphs, *tokenizers]:
        if file not in hashes:
            raise BundleError(f"{manifest}: {file!r} is used but has no sha256 under files: refused")
    tasks = {task for mode in bundle.search_modes.values() for task in mode}
    if tasks - set(bundle.mappers):
        raise BundleError(
            f"{manifest}: search modes use tasks without a mapper: {sorted(tasks - set(bundle.mappers))}"
        )
