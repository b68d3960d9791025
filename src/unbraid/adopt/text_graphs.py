"""The graphs of an adopted text encoder: float32, compared with the model's own library, and int8 where it keeps enough."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unbraid.adopt.agreement import agreement
from unbraid.adopt.find_part import find_part
from unbraid.adopt.models import TextModel
from unbraid.adopt.sentence_encoder import SentenceEncoder, StaticStage
from unbraid.bundle import TextSpec
from unbraid.errors import AdoptError
from unbraid.export.onnx_graphs import export_unfused, fuse_bert, quantize
from unbraid.export.parity import FP32_LIMIT, Parity, ParityError, compare
from unbraid.export.parity_samples import text_cases
from unbraid.export.text_tiers import STATIC_BATCH
from unbraid.export.wide_products import WIDE
from unbraid.runtime.text import TextRuntime

INPUTS = ("input_ids", "attention_mask")
LEAST_AGREEMENT = 0.95  # of the ten nearest, below which int8 is not offered
# Products whose inputs span more than this are stored in blocks, which is slower and keeps more. The first that keeps
# enough is taken.
SPANS = (WIDE, 30.0, 0.0)
PROBED = 6  # batches that tell which products those are


@dataclass(frozen=True)
class TextGraphs:
    """What was written of a text encoder."""

    spec: TextSpec
    parities: list[Parity]
    agreement: float | None  # of int8 with float32 on the sample; None where int8 is not offered
    tried: Mapping[float, float]  # span -> agreement of an int8 graph that was tried


def write_text_graphs(
    text: TextModel, identity: str, folder: Path, name: str, task: str, sample: Sequence[str]
) -> TextGraphs:
    """Write the tokenizer and the graphs of `text` with its prompt for `task` to `folder`, files that begin with `name`.

    Raises AdoptError, with the part that is to blame, when they do not give on `sample` what the model's own library
    gives.
    """
    tokenizer = "tokenizer.json" if name == "text" else f"{name}.tokenizer.json"
    text.tokenizer.save(str(folder / tokenizer), pretty=False)
    static, prompt = is_static(text.encoder), text.prompts.get(task, "")
    if static:  # their libraries cut a long text in other ways
        sample = [one for one in sample if not text.tokenizer.encode(prompt + one).overflowing]

    def spec(**graphs: str) -> TextSpec:
        return TextSpec(
            identity,
            graphs,
            tokenizer,
            text.max_tokens,
            split_identifiers=False,
            batch_tokens=STATIC_BATCH if static else TextSpec.batch_tokens,
            prefix=prompt,
        )

    def run(file: str) -> np.ndarray:
        runtime = TextRuntime(folder, spec(graph=file), None)
        ids, _ = runtime.tokenize(sample)
        return runtime.encode(ids, threads=2, progress=False)

    expected = text.original(sample, prompt)
    exact = f"{name}.fp32.onnx"
    found = _write_exact(text, prompt, folder / exact, sample, expected, lambda: run(exact))
    parities = [_parity(exact, found, expected)]
    rounded = f"{name}.int8.onnx"
    tried: dict[float, float] = {}
    for span in (0.0,) if static else SPANS:
        write_int8 = _static_int8 if static else _quantized
        write_int8(text, folder, exact, rounded, span)
        vectors = run(rounded)
        tried[span] = agreement(expected, vectors)
        if tried[span] >= LEAST_AGREEMENT:
            parities.append(_parity(rounded, vectors, expected))
            return TextGraphs(spec(int8=rounded, fp32=exact), parities, tried[span], tried)
    (folder / rounded).unlink()
    return TextGraphs(spec(fp32=exact), parities, None, tried)


def is_static(encoder: nn.Module) -> bool:
    """Whether an encoder looks rows up and has no layers of attention."""
    return any(isinstance(one, StaticStage) for one in encoder.modules())


def _write_exact(
    text: TextModel,
    prompt: str,
    path: Path,
    sample: Sequence[str],
    expected: np.ndarray,
    run: Callable[[], np.ndarray],
) -> np.ndarray:
    """Write the float32 graph, fused where that keeps its vectors; what it gives for `sample`."""
    cases = text_cases(text.tokenizer)
    cases = [cases[0], cases[-1]]  # one short text; many of all lengths, padded
    plain = path.with_name(f"plain.{path.name}")
    try:
        export_unfused(text.encoder, torch.zeros((2, 8), dtype=torch.long), INPUTS[0], plain)
    except Exception as error:  # torch's exporter raises whatever the traced code does
        raise AdoptError(
            f"the model cannot be written as an ONNX graph: {type(error).__name__}: {error}"
        ) from error
    try:
        for fused in (True, False):
            if fused:
                fuse(text.encoder, plain, path)
            else:
                plain.replace(path)
            try:
                compare(text.encoder, path, INPUTS, cases, "base_vector")
            except ParityError:
                continue
            found = run()
            if np.abs(found - expected).max() <= FP32_LIMIT:
                return found
        raise AdoptError(find_part(text, prompt, path, sample, expected))
    finally:
        plain.unlink(missing_ok=True)


def fuse(encoder: nn.Module, plain: Path, path: Path) -> None:
    """Write the graph `plain` with operators joined where onnxruntime knows the architecture."""
    config = next((one.config for one in encoder.modules() if hasattr(one, "config")), None)
    heads, width = (getattr(config, name, None) for name in ("num_attention_heads", "hidden_size"))
    if isinstance(heads, int) and isinstance(width, int):
        path.write_bytes(plain.read_bytes())
        fuse_bert(path, heads, width)
    else:
        path.write_bytes(plain.read_bytes())


def _quantized(text: TextModel, folder: Path, exact: str, rounded: str, span: float) -> None:
    cases = text_cases(text.tokenizer)
    inputs = [dict(zip(INPUTS, (part.numpy() for part in case), strict=True)) for case in cases[:PROBED]]
    logging.disable(logging.WARNING)  # onnxruntime advises a step that fused graphs do not take
    try:
        quantize(folder / exact, folder / rounded, inputs, span)
    finally:
        logging.disable(logging.NOTSET)


def _static_int8(text: TextModel, folder: Path, exact: str, rounded: str, span: float) -> None:
    export_unfused(
        with_rounded_rows(text.encoder), torch.zeros((2, 8), dtype=torch.long), INPUTS[0], folder / rounded
    )


def with_rounded_rows(encoder: nn.Module) -> nn.Module:
    """A copy of a static encoder whose rows are int8."""
    rounded = copy.deepcopy(encoder)
    for one in rounded.modules():
        if isinstance(one, SentenceEncoder):
            one.stages = nn.ModuleList(
                stage.rounded() if isinstance(stage, StaticStage) else stage for stage in one.stages
            )
    return rounded


def _parity(graph: str, found: np.ndarray, expected: np.ndarray) -> Parity:
    cosines = (found * expected).sum(1)
    return Parity(
        graph, len(found), float(np.abs(found - expected).max()), float(cosines.mean()), float(cosines.min())
    )
