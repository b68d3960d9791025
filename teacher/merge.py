"""One adapter merged into the base: a plain Qwen2.5-VL checkpoint that vLLM serves.

vLLM returns token states, and its client makes the vector:

- Prompts. A text is sent as "Query: " or "Passage: " and the text, under text-matching always "Query: ". A picture
  is sent with the prompt `PUBLISHED.image_prompt`, whose one image pad vLLM repeats. No chat template.
- Call. `LLM(model=folder, runner="pooling")` and `llm.encode(prompts, pooling_task="token_embed")`. Never vLLM's own
  pooled "embed" output: it takes the last token, or the mean over the whole prompt, which is wrong for pictures.
- Control tokens. vLLM takes what spells one in a text for one (vLLM issue 57740), the teacher does not: where
  texts are not to be trusted, send `prompt_token_ids` as `QwenReader` makes them.
- Pooling. For a text the mean over all rows; for a picture the mean over the rows from `<|vision_start|>` to
  `<|vision_end|>` in `prompt_token_ids`, both included. Sum in float32, then normalize. Shorter vectors are
  prefixes, normalized again.
- Multi-vectors need the projector, which this layout has no place for.
"""

import dataclasses
import gc
import json
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from unbraid.errors import DataError, TeacherError
from unbraid.io.atomic import atomic_folder
from unbraid.items import Code, Item
from unbraid.teacher.adapter_file import Adapters, read_adapters, some
from unbraid.teacher.checkpoint import SINGLE, Stored, checkpoint_folder, dtype_name, stored_tensors
from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.memory import choose_device
from unbraid.teacher.model import Backbone
from unbraid.teacher.qwen import PROJECTOR, PUBLISHED, QwenReader, load_jina_v4, read_config
from unbraid.teacher.routes import JINA_V4, TASK_ADAPTERS
from unbraid.teacher.silence_transformers import silence_transformers

RECORD = "merge.json"  # what was merged and how well it compared; marks a folder that may be replaced
ARCHITECTURE, PROCESSOR = "Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor"
DIFFERENCE = 1e-5  # of a vector's numbers, where both the files and the arithmetic are float32
# Elsewhere. Rounding W + B A to bfloat16 moves each weight by up to 1/256 of itself: the tiny checkpoint's vectors
# then keep a cosine above 0.999, and those of its other adapters are below 0.95.
COSINE = 0.99
_SIZES = {"F32": 4, "BF16": 2, "F16": 2}
_REMOTE = (
    *(
        "auto_map",
        "matryoshka_dims",
        "multi_vector_projector_dim",
        "single_vector_pool_strategy",
        "task_names",
    ),
    *("truncate_dim", "verbosity", "pretrained_peft_model_name_or_path", "_name_or_path"),
)
_COPIED = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"),
    *("added_tokens.json", "chat_template.json", "chat_template.jinja", "generation_config.json"),
)
_WRITTEN = {*_COPIED, RECORD, SINGLE, "config.json", "preprocessor_config.json"}
_ROUTES = {
    "retrieval": "query",
    "text-matching": "symmetric",
    "code": "code",
}  # a task that each adapter answers


@dataclasses.dataclass(frozen=True)
class Merged:
    """A merged checkpoint, and how far its vectors are from the unmerged teacher's."""

    folder: Path
    difference: float  # the largest of a vector's numbers
    cosine: float  # the smallest


def merge(
    source: str | Path,
    task: str,
    out: Path,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> Merged:
    """Merge the adapter `task` into the base of `source`, write it to the folder `out`, and check it.

    The merged model is loaded again with the stock class, and its vectors of some texts and a picture are compared with
    the unmerged teacher's, with `device` and `dtype` as in `load`. `out` is written only if they agree; it may be
    absent, empty, or an earlier merge, which is replaced. Weights keep the base's dtype; sums are made in float32, one
    tensor at a time.
    Raises DataError for a task that is no adapter or a folder that must not be overwritten, TeacherError for a
    source that cannot be loaded and for a result that does not agree.
    """
    if task not in TASK_ADAPTERS:
        raise DataError(f"no adapter {task!r}: expected one of {', '.join(TASK_ADAPTERS)}")
    _check_place(out)  # before minutes of work
    if revision is None and str(source) == PUBLISHED.hub_id:
        revision = PUBLISHED.revision
    folder, _ = checkpoint_folder(source, revision)
    adapters = read_adapters(folder / "adapters", TASK_ADAPTERS)
    plan = _plan(stored_tensors(folder), adapters, task)
    place = choose_device(device)

    teacher = load_jina_v4(
        source, revision=revision, device=place, dtype=dtype, min_pixels=min_pixels, max_pixels=max_pixels
    )
    assert isinstance(teacher.reader, QwenReader)
    about, size = teacher.about, teacher.reader.size
    limits = (size["shortest_edge"], size["longest_edge"])
    dtype = next(teacher.model.parameters()).dtype
    expected = teacher.encode(_samples(), _ROUTES[task])
    del teacher  # two of them may not fit
    gc.collect()
    if place.type == "cuda":
        torch.cuda.empty_cache()

    with atomic_folder(out, lambda: _check_place(out)) as unfinished:
        _write_weights(unfinished / SINGLE, plan, adapters.scaling)
        _write_settings(folder, unfinished, limits)
        found = _load_merged(unfinished, place, dtype, limits).encode(_samples(), _ROUTES[task])
        exact = dtype == torch.float32 and all(stored.dtype == "F32" for stored, _ in plan.values())
        difference, cosine = compare(expected, found, exact=exact)
        record = {
            "task": task,
            **{name: about[name] for name in ("model", "revision", "min_pixels", "max_pixels")},
            "compared in": about["dtype"],
            "largest difference": difference,
            "smallest cosine": cosine,
            "licence": PUBLISHED.licence,
        }
        _write_json(unfinished / RECORD, record)
    return Merged(out, difference, cosine)


def compare(expected: np.ndarray, found: np.ndarray, *, exact: bool) -> tuple[float, float]:
    """The largest difference and the smallest cosine of unit vectors [n, dim]; TeacherError where they are too far.

    `exact` is for float32 throughout and allows DIFFERENCE; otherwise the cosine is at least COSINE.
    """
    difference = float(np.abs(expected - found).max())
    cosine = float((expected * found).sum(1).min())
    if not (difference <= DIFFERENCE if exact else cosine >= COSINE):
        bound = f"at most {DIFFERENCE}" if exact else f"a cosine of at least {COSINE}"
        raise TeacherError(
            f"the merged model gives other vectors: they differ by {difference:.2g}, with a cosine of {cosine:.4f},"
            f" expected {bound}; nothing was written"
        )
    return difference, cosine


Plan = Mapping[str, tuple[Stored, tuple[Tensor, Tensor] | None]]


def _plan(tensors: Mapping[str, Stored], adapters: Adapters, task: str) -> Plan:
    """Each tensor to be written and the A and B that are added to it, wide dtypes first, as the format wants it."""
    plan: dict[str, tuple[Stored, tuple[Tensor, Tensor] | None]] = {
        key: (stored, None)
        for key, stored in sorted(tensors.items(), key=lambda one: -_SIZES.get(one[1].dtype, 0))
        if key not in PROJECTOR
    }
    if strange := {
        f"{key} {stored.dtype}" for key, (stored, _) in plan.items() if stored.dtype not in _SIZES
    }:
        raise TeacherError(f"cannot merge into {some(strange)}: expected {', '.join(_SIZES)}")
    parts = adapters.tensors[task]
    for module in dict.fromkeys(module for module, _ in parts):
        key = f"model.{module.removeprefix('model.language_model.')}.weight"
        if module == "multi_vector_projector":
            continue
        a, b = parts.get((module, "A")), parts.get((module, "B"))
        if key not in plan or a is None or b is None or plan[key][0].shape != (len(b), a.shape[1]):
            raise TeacherError(f"adapter {task!r} does not fit the base: {module} has no {key} of its shape")
        plan[key] = (plan[key][0], (a, b))
    return plan


def _write_weights(path: Path, plan: Plan, scaling: float) -> None:
    """One safetensors file, written tensor by tensor: save_file would want all of them in memory."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, (stored, _) in plan.items():
        start, end = end, end + stored.numbers * _SIZES[stored.dtype]
        header[key] = {"dtype": stored.dtype, "shape": stored.shape, "data_offsets": (start, end)}
    if (free := shutil.disk_usage(path.parent).free) < end:
        raise TeacherError(f"{path.parent}: the merged weights take {end:,} bytes, {free:,} are free")
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(written)) + written)
        for stored, parts in plan.values():
            tensor = stored.read()
            if parts is not None:
                a, b = (part.float() for part in parts)
                tensor = (tensor.float() + scaling * (b @ a)).to(tensor.dtype)
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)


def _write_settings(folder: Path, out: Path, limits: tuple[int, int]) -> None:
    """Configuration, tokenizer and image settings, with nothing in them that asks for remote code."""
    config = _read_json(folder / "config.json")
    for name in _REMOTE:
        config.pop(name, None)
    config |= {"architectures": [ARCHITECTURE], "tie_word_embeddings": True}
    if "text_config" in config:
        config["text_config"]["tie_word_embeddings"] = True
    _write_json(out / "config.json", config)

    images = _read_json(folder / "preprocessor_config.json")
    images.pop("auto_map", None)
    images |= {"processor_class": PROCESSOR, "min_pixels": limits[0], "max_pixels": limits[1]}
    # Both forms, for readers of both: the size is what wins.
    images["size"] = {"shortest_edge": limits[0], "longest_edge": limits[1]}
    _write_json(out / "preprocessor_config.json", images)

    for name in _COPIED:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    if (path := out / "tokenizer_config.json").is_file():
        tokens = _read_json(path)
        tokens.pop("auto_map", None)
        _write_json(path, {**tokens, "processor_class": PROCESSOR})


def _load_merged(
    folder: Path, device: torch.device, dtype: torch.dtype, limits: tuple[int, int]
) -> AdapterTeacher:
    """The merged checkpoint as a teacher without adapters. Raises TeacherError unless every key is at home."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    try:
        with silence_transformers():
            whole, info = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                device_map={"": str(device)},
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise TeacherError(f"the merged model cannot be loaded: {error}") from error
    if wrong := [f"{what} {some([str(key) for key in keys])}" for what, keys in info.items() if keys]:
        raise TeacherError(f"the merged model does not load cleanly: {'; '.join(wrong)}")
    config = read_config(folder)
    backbone = Backbone(whole.model, nn.Linear(config.text_config.hidden_size, 1))  # never asked to project
    return AdapterTeacher(
        backbone.eval().requires_grad_(False),
        None,
        QwenReader(folder, config, *limits),
        id="merged",
        about={"dtype": dtype_name(dtype)},
        routes={task: dataclasses.replace(route, adapter=None) for task, route in JINA_V4.items()},
        dims=(config.text_config.hidden_size,),
        modalities=("text", "code", "image"),
    )


def _samples() -> Sequence[Item]:
    """Texts, code and a picture to compare on."""
    y, x = np.mgrid[0:112, 0:168]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 13)], -1)
    picture = Image.fromarray(((waves + 1) * 127).astype(np.uint8))
    text = "A lighthouse stands where the river meets the sea. " * 8
    return [
        "cat",
        text,
        Code("def area(r):\n    return 3.14159 * r * r\n"),
        "Größe und Gewicht, 猫 🎉",
        picture,
    ]


def _check_place(out: Path) -> None:
    """Raise DataError when `out` holds anything but an earlier merge."""
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if not out.exists() or (out.is_dir() and (not names or (RECORD in names and names <= _WRITTEN))):
        return
    what = "is a folder that holds something else than a merged teacher" if out.is_dir() else "is a file"
    raise DataError(f"{out} {what}: it is not overwritten, choose another place")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise TeacherError(f"{path}: not readable: {error}") from error


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
