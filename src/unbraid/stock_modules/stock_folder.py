"""A bundle's text encoders and mappers as a folder of sentence-transformers' own modules: no remote code, no onnxruntime.

Its last module is a router from a task to the task's mapper. Where texts of some tasks have an encoder of their own, a
router from a task to its encoder is the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from torch import nn

from unbraid.bundle import Bundle, TextSpec
from unbraid.embedder import Embedder
from unbraid.errors import BundleError, DataError
from unbraid.export.parity import FP32_LIMIT, ParityError
from unbraid.export.parity_samples import docstrings
from unbraid.io.atomic import atomic_folder
from unbraid.runtime.onnx_session import pick_graph
from unbraid.runtime.text import TextRuntime
from unbraid.runtime.text_tokenizer import TextTokenizer
from unbraid.stock_modules.encoder_modules import dense, encoder_modules
from unbraid.stock_modules.float_graph import float_graph
from unbraid.stock_modules.stock_card import WRITTEN_BY, stock_card
from unbraid.tasks import BASE, CODE_QUERY
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.torchvision_shim import ensure_torchvision

CODE = "code"
SAMPLES = 15  # texts of the comparison, beside one of code
SPLIT_SAMPLE = "def parseHTMLPage(maxLength): return readURLs(maxLength)"


@dataclass(frozen=True)
class StockFolder:
    """What was written: its tasks, and how near its vectors are to the bundle's."""

    tasks: tuple[str, ...]
    rounded: bool  # the weights are those that int8 numbers stand for: the bundle has no float32 graphs
    largest_difference: float  # from the same weights run by onnxruntime in float32
    mean_cosine: float  # to the vectors of the bundle as it is
    least_cosine: float
    left_out: tuple[str, ...]  # modalities


@dataclass(frozen=True)
class _Reading:
    """Who encodes the texts of a task, and the bundle's task that its vectors are mapped to; None: base vectors."""

    tier: str
    modality: Literal["text", "code"]
    task: str | None

    @property
    def route(self) -> str:
        return self.tier if self.modality == "text" else f"{self.tier}-{self.modality}"


def export_stock_folder(bundle: Bundle, out: Path, *, tier: str | None = None) -> StockFolder:
    """Write `bundle` as the folder `out`, which `SentenceTransformer(out)` loads; an older such folder is replaced.

    `tier` encodes every text; by default documents and queries go to the bundle's tiers for them. The weights are read
    from the graphs. Raises BundleError for a tier or texts that the bundle does not have, DataError for graphs that the
    weights cannot be read from or an `out` that holds something else, ParityError when the vectors differ.
    """
    embedder = Embedder(bundle, tier=tier)
    readings = _readings(embedder)
    ensure_torchvision()
    with silence_transformers(), atomic_folder(out, lambda: _check_folder(out)) as folder:
        _model(embedder, readings).save(str(folder), create_model_card=False)
        written = _compare(folder, embedder, readings)
        card = stock_card(bundle, written.tasks, rounded=written.rounded, left_out=written.left_out)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return written


def _readings(embedder: Embedder) -> dict[str, _Reading]:
    """Tasks of the folder, and how each is read."""
    bundle, tier, query = embedder.bundle, embedder.tier, embedder.query_tier
    if "text" not in bundle.modalities:
        raise BundleError(f"{embedder.name} encodes no texts: there is nothing to export")
    if gated := [task for task, spec in bundle.mappers.items() if spec.kind == "gated"]:
        raise DataError(f"{embedder.name}: mapper {gated[0]} is gated; only linear mappers can be exported")
    found = {BASE: _Reading(tier, "text", None)}
    found |= {task: _Reading(query if task == "query" else tier, "text", task) for task in embedder.tasks}
    code = bundle.tiers[tier].get("code")
    if CODE in found and code is not None and code.split_identifiers:
        found |= {CODE: _Reading(tier, "code", CODE), CODE_QUERY: _Reading(query, "text", CODE)}
    return found


def _model(embedder: Embedder, readings: Mapping[str, _Reading]) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    encoders: dict[str, list[nn.Module]] = {}
    for reading in readings.values():
        if reading.route not in encoders:
            modules = encoder_modules(embedder.bundle.folder, _spec(embedder, reading))
            if (same := encoders.get(reading.tier)) and reading.modality == "code":
                modules[1:] = same[1:]  # only its tokenizer differs, which comes with the first
            encoders[reading.route] = modules
    default = "document" if "document" in readings else BASE
    mappers = Router(_mappers(embedder, readings, encoders), default_route=default)
    first = next(iter(encoders.values()))
    if len(encoders) > 1:
        routes: dict[tuple[str | None, None], str] = {(None, None): readings[default].route}
        routes |= {(task, None): reading.route for task, reading in readings.items()}
        first = [Router(encoders, route_mappings=routes)]
    prompts = {name: _spec(embedder, reading).prefix for name, reading in readings.items()}
    return SentenceTransformer(
        modules=[*first, mappers],
        device="cpu",
        similarity_fn_name="cosine",
        prompts=prompts if any(prompts.values()) else None,
        default_prompt_name=default if any(prompts.values()) else None,
    )


def _mappers(
    embedder: Embedder, readings: Mapping[str, _Reading], encoders: Mapping[str, list[nn.Module]]
) -> dict[str, list[nn.Module]]:
    """The modules of every task, after those that give base vectors."""
    unit = next(iter(encoders.values()))[-1]
    made: dict[str | None, list[nn.Module]] = {None: [unit]}
    for task in embedder.tasks:
        matrix = embedder.matrix(task)
        same = np.array_equal(matrix, np.eye(len(matrix)))
        made[task] = [unit] if same else [dense(matrix), unit]
    return {name: made[reading.task] for name, reading in readings.items()}


def _compare(folder: Path, embedder: Embedder, readings: Mapping[str, _Reading]) -> StockFolder:
    """Read the written folder again and compare its vectors. Raises ParityError when they differ."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    texts = [*docstrings()[:: len(docstrings()) // SAMPLES], SPLIT_SAMPLE]
    exact: dict[str, np.ndarray] = {}  # base vectors by route
    own: dict[str, np.ndarray] = {}
    differences, cosines = [], []
    for name, reading in readings.items():
        route = reading.route
        if route not in exact:
            exact[route] = _float_vectors(embedder, _spec(embedder, reading), texts)
            own[route] = embedder.encode(
                texts, modality=reading.modality, tier=reading.tier, on_truncate="ignore"
            )
        expected, bundle = (
            base if reading.task is None else embedder.map(base, reading.task)
            for base in (exact[route], own[route])
        )
        found = model.encode(
            texts, task=name, prompt_name=name if name in model.prompts else None, show_progress_bar=False
        )
        differences.append(float(np.abs(found - expected).max()))
        cosines.extend((found * bundle).sum(1).tolist())
    if not max(differences) <= FP32_LIMIT:
        raise ParityError(
            f"{embedder.name}: sentence-transformers' vectors differ from the bundle's by {max(differences):.2g}, "
            f"the limit is {FP32_LIMIT}: its graphs are not what they were read as"
        )
    return StockFolder(
        tasks=tuple(readings),
        rounded=any("fp32" not in _spec(embedder, one).graphs for one in readings.values()),
        largest_difference=max(differences),
        mean_cosine=float(np.mean(cosines)),
        least_cosine=min(cosines),
        left_out=tuple(one for one in embedder.modalities if one == "image"),
    )


def _float_vectors(embedder: Embedder, spec: TextSpec, texts: Sequence[str]) -> np.ndarray:
    """Base vectors of `texts` by the weights of `spec` in float32."""
    import onnx

    source = embedder.bundle.folder
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        for name, graphs in (("text", spec.graphs), ("tokens", spec.token_graphs)):
            if graphs:
                onnx.save(
                    float_graph(source / pick_graph(graphs, "fp32")), str(Path(scratch) / f"{name}.onnx")
                )
        exact = replace(
            spec,
            graphs={"fp32": "text.onnx"},
            token_graphs={"fp32": "tokens.onnx"} if spec.token_graphs else {},
        )
        reader = TextTokenizer(source / spec.tokenizer, spec.max_tokens)
        runtime = TextRuntime(Path(scratch), exact, "fp32", reader=reader)
        ids, _ = runtime.tokenize(texts)
        return runtime.encode(ids, threads=embedder.threads, progress=False)


def _spec(embedder: Embedder, reading: _Reading) -> TextSpec:
    return embedder.bundle.tiers[reading.tier][reading.modality]


def _check_folder(out: Path) -> None:
    """Raise DataError unless `out` is absent, an empty folder or one that this wrote."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    card = out / "README.md"
    if not card.is_file() or WRITTEN_BY not in card.read_text(encoding="utf-8", errors="replace"):
        raise DataError(f"{out}: exists and was not written by `unbraid export-st`: choose another folder")
