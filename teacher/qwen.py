"""The published teacher, jina-embeddings-v4: stock Qwen2.5-VL, one projector and three adapters, no remote code."""

import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from packaging.version import InvalidVersion, Version
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn

from unbraid.errors import DataError, ItemError, MissingExtraError, TeacherError
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.items import Code, Item
from unbraid.runtime.preprocess import decode
from unbraid.teacher.adapter_file import (
    WEIGHTS,
    adapters_digest,
    attach_adapters,
    load_projector,
    read_adapters,
    some,
)
from unbraid.teacher.checkpoint import Stored, checkpoint_folder, dtype_name, file_tensors, stored_tensors
from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.inputs import Input, Picture
from unbraid.teacher.memory import check_fits, choose_device, needed_bytes
from unbraid.teacher.model import PROJECTED, Backbone, new_projector
from unbraid.teacher.routes import JINA_V4, TASK_ADAPTERS, Route
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.teacher.stacked import stack_adapters
from unbraid.training.torchvision_shim import ensure_torchvision

MIN_PIXELS, MAX_PIXELS = 3136, 602112  # 4 and 768 tokens; the published vLLM checkpoints say 12845056
MAX_TOKENS = 32768
MAX_RATIO = 200  # of a picture's sides; the image processor's own limit
PROJECTOR = ("multi_vector_projector.weight", "multi_vector_projector.bias")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
BATCH_TOKENS = {"cuda": 16384, "cpu": 2048}


@dataclass(frozen=True)
class Published:
    """Facts of the published model."""

    hub_id: str = "jinaai/jina-embeddings-v4"
    revision: str = "853c867b65b749f3c3c72a06868140d842e04f06"
    min_pixels: int = MIN_PIXELS
    max_pixels: int = MAX_PIXELS
    max_tokens: int = MAX_TOKENS
    dims: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    image_prompt: str = (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"
    )
    # Of the prompt, with one image pad.
    image_prompt_ids: tuple[int, ...] = (
        *(151644, 872, 198, 151652, 151655, 151653),
        *(74785, 279, 2168, 13, 151645, 198),
    )
    licence: str = (
        "jina-embeddings-v4 is under the Qwen Research License (its card: CC-BY-NC 4.0): for research, not for"
        " commercial use. Whether that also binds vectors made with it and models trained on them is for you"
        " to settle."
    )
    # These give the tokens of a still picture the positions of a video (transformers issue 45325).
    banned_transformers: tuple[str, str] = ("5.4.0", "5.5.3")


PUBLISHED = Published()


class QwenReader:
    """Texts under their route's prompt and pictures under the fixed one, as the published model was trained.

    A text is tokenized plainly: nothing in it is taken for a control token, whatever it spells.
    """

    def __init__(
        self,
        folder: Path,
        config: Any,
        min_pixels: int,
        max_pixels: int,
        max_tokens: int = MAX_TOKENS,
        *,
        cut: bool = False,
    ) -> None:
        """Read the tokenizer and the image settings in `folder`; `config` is the model's Qwen2_5_VLConfig.

        With `cut`, which is for training, a longer text is read up to `max_tokens` instead of being refused.
        Raises TeacherError when they are absent or do not fit the model.
        """
        if ensure_torchvision() == "absent":
            raise MissingExtraError("torchvision", "teacher")
        from transformers import Qwen2VLImageProcessor

        self.max_tokens, self.cut = max_tokens, cut
        self.size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self.tokenizer, self._before, self._after = _read_tokenizer(folder, config)
        self._pad = config.image_token_id
        self._pooled_from = self._before.index(config.vision_start_token_id)
        self._pooled_after = self._after.index(config.vision_end_token_id) + 1
        try:
            self.processor = Qwen2VLImageProcessor.from_pretrained(folder, size=dict(self.size))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TeacherError(f"{folder}: no readable preprocessor_config.json: {error}") from error
        vision = config.vision_config
        for name, expected in (
            ("patch_size", vision.patch_size),
            ("merge_size", vision.spatial_merge_size),
            ("temporal_patch_size", vision.temporal_patch_size),
        ):
            if (found := getattr(self.processor, name)) != expected:
                where = f"{folder / 'preprocessor_config.json'}: {name} is {found}"
                raise TeacherError(f"{where}, but the model in config.json expects {expected}")

    def read_texts(
        self, texts: Sequence[str], routes: Sequence[Route], rows: Sequence[int] | None = None
    ) -> list[Input]:
        """Inputs of `texts`, each pooled over all its tokens, the prompt's among them."""
        rows = range(len(texts)) if rows is None else rows
        written = []
        for row, text, route in zip(rows, texts, routes, strict=True):
            if not text.strip():
                raise ItemError(f"item {row} is an empty text")
            prompt = route.code_prompt if isinstance(text, Code) else route.prompt
            written.append(prompt + replace_lone_surrogates(text))
        found = []
        encodings = self.tokenizer.encode_batch_fast(written, add_special_tokens=False)
        for row, encoding in zip(rows, encodings, strict=True):
            if self.cut:
                encoding.truncate(self.max_tokens)
            if (count := len(encoding.ids)) > self.max_tokens:
                raise ItemError(f"item {row} has {count:,} tokens, at most {self.max_tokens:,} fit: split it")
            found.append(Input(encoding.ids, (0, count)))
        return found

    def read_picture(self, item: Item) -> Input:
        """Input of one picture, pooled from its vision-start to its vision-end marker, both included."""
        assert not isinstance(item, str)
        image = decode(item)
        name = str(item) if isinstance(item, Path) else f"PIL image {getattr(item, 'filename', '')}".rstrip()
        if (ratio := max(image.size) / min(image.size)) > MAX_RATIO:
            width, height = image.size
            raise ItemError(
                f"{name}: {width} x {height} is {ratio:.0f} : 1, more than {MAX_RATIO} : 1: crop it"
            )
        # The pixel limits are given with every call: what preprocessor_config.json says differs between the
        # published checkpoints, and changes every vector.
        read = self.processor(images=[image], size=dict(self.size), return_tensors="pt")
        time, height, width = read["image_grid_thw"][0].tolist()
        count = time * height * width // self.processor.merge_size**2
        ids = [*self._before, *[self._pad] * count, *self._after]
        pooled = (self._pooled_from, len(self._before) + count + self._pooled_after)
        return Input(ids, pooled, Picture(read["pixel_values"].float(), (time, height, width)))

    def picture_tokens(self, width: int, height: int) -> int:
        """Tokens that `read_picture` gives a picture of this size. Raises ItemError for one that is too long."""
        if (ratio := max(width, height) / min(width, height)) > MAX_RATIO:
            raise ItemError(
                f"{width} x {height} is {ratio:.0f} : 1, more than {MAX_RATIO} : 1: crop the picture"
            )
        limits = {"min_pixels": self.size["shortest_edge"], "max_pixels": self.size["longest_edge"]}
        patches: int = self.processor.get_number_of_image_patches(height, width, limits)
        return len(self._before) + patches // self.processor.merge_size**2 + len(self._after)


def load_jina_v4(
    source: str | Path = PUBLISHED.hub_id,
    *,
    adapters: Path | None = None,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    attention: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> AdapterTeacher:
    """The teacher in a folder, or of a hub id, in the published layout.

    `adapters` is a folder of adapters trained here, which stand in for the checkpoint's own; it holds the projector
    that they were trained on.
    Defaults: the pinned revision of the published id, CUDA where there is one, bfloat16 there and float32 on the
    CPU, "sdpa" attention, and the published pixel limits. FlashAttention is used only when asked for.
    Raises TeacherError that names the key for weights that are missing, unexpected or of another shape, and
    when the model cannot be fetched or does not fit; DataError for options that make no sense.
    """
    check_transformers()
    place = choose_device(device)
    dtype = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    attention = attention or "sdpa"
    limits = (
        MIN_PIXELS if min_pixels is None else min_pixels,
        MAX_PIXELS if max_pixels is None else max_pixels,
    )
    _check_options(attention, dtype, place, *limits)
    if revision is None and str(source) == PUBLISHED.hub_id:
        revision = PUBLISHED.revision
    folder, found = checkpoint_folder(source, revision)
    config = read_config(folder)
    reader = QwenReader(folder, config, *limits)
    tensors = stored_tensors(folder)
    place_of_adapters = adapters or folder / "adapters"
    parts = file_tensors(place_of_adapters / WEIGHTS)
    weights = sum(stored.numbers for stored in [*tensors.values(), *parts.values()])
    budget = BATCH_TOKENS.get(place.type, BATCH_TOKENS["cpu"])
    check_fits(needed_bytes(weights, _workspace(config, budget)), dtype, place)
    show_licence()
    projector = None if adapters is None else new_projector(config.text_config.hidden_size)
    backbone = load_backbone(
        folder, tensors, device=place, dtype=dtype, attention=attention, projector=projector
    )
    if adapters is not None:
        load_projector(backbone, adapters)
    model, gate = stack_adapters(attach_adapters(backbone, read_adapters(place_of_adapters, TASK_ADAPTERS)))
    about: dict[str, object] = {
        # A folder has no name of its own: its digest tells it apart.
        "model": (PUBLISHED.hub_id if folder == Path(source) else str(source)).rpartition("/")[2],
        "revision": found if adapters is None else f"{found}+{adapters_digest(adapters)}",
        "dtype": dtype_name(dtype),
        "attention": attention,
        "min_pixels": limits[0],
        "max_pixels": limits[1],
    }
    return AdapterTeacher(
        model.to(place),
        gate,
        reader,
        id="-".join(str(part) for part in about.values()),
        about=about,
        routes=JINA_V4,
        dims=trained_dims(config),
        modalities=("text", "code", "image"),
        batch_tokens=budget,
    )


def check_transformers() -> None:
    """Raise TeacherError for a transformers release that would give wrong vectors, with what to install."""
    import transformers

    found, (first, last) = transformers.__version__, PUBLISHED.banned_transformers
    try:
        version = Version(found)
    except InvalidVersion as error:
        raise TeacherError(f"transformers has version {found!r}, which cannot be read") from error
    install = "run: pip install 'transformers>=5.5.4,<6'"
    if Version(first) <= version <= Version(last):
        raise TeacherError(
            f"transformers {found} gives pictures the positions of a video (fixed in 5.5.4); {install}"
        )
    if version < Version("5"):
        raise TeacherError(
            f"transformers {found} is too old: its Qwen2.5-VL has another interface; {install}"
        )


def read_config(folder: Path) -> Any:
    """The Qwen2_5_VLConfig in `folder`. Raises TeacherError for a file that is not one."""
    ensure_torchvision()
    from transformers import Qwen2_5_VLConfig

    try:
        config = Qwen2_5_VLConfig.from_pretrained(folder)
        kind, _ = config.model_type, config.text_config.hidden_size
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StrictDataclassError) as error:
        raise TeacherError(f"{folder / 'config.json'}: not a readable configuration: {error}") from error
    if kind != "qwen2_5_vl":
        raise TeacherError(f"{folder / 'config.json'}: model_type is {kind!r}, expected 'qwen2_5_vl'")
    return config


def load_backbone(
    folder: Path,
    tensors: dict[str, Stored],
    *,
    device: torch.device,
    dtype: torch.dtype,
    attention: str,
    projector: nn.Linear | None = None,
) -> Backbone:
    """The frozen stock model in `folder` with the checkpoint's projector; `tensors` are those of its shards.

    A plain Qwen2.5-VL has no projector: training gives it the new one `projector`.

    Raises TeacherError that names every key that is missing, unexpected or of another shape.
    """
    from transformers import Qwen2_5_VLModel

    try:
        with silence_transformers():
            model, info = Qwen2_5_VLModel.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attention,
                device_map={"": str(device)},
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
    except (OSError, ValueError, TypeError, ImportError, RuntimeError, SafetensorError) as error:
        raise TeacherError(f"{folder}: the base model cannot be loaded: {error}") from error
    wrong = {
        "missing": set(info["missing_keys"]),
        "unexpected": set(info["unexpected_keys"]) - set(PROJECTOR),
        "of another shape": {
            f"{key} {tuple(found)} instead of {tuple(expected)}"
            for key, found, expected in info["mismatched_keys"]
        },
    }
    hidden = model.config.text_config.hidden_size
    for key, shape in zip(PROJECTOR, ((PROJECTED, hidden), (PROJECTED,)), strict=True):
        if projector is not None:
            continue
        if key not in tensors:
            wrong["missing"].add(key)
        elif tensors[key].shape != shape:
            wrong["of another shape"].add(f"{key} {tensors[key].shape} instead of {shape}")
    if said := [f"{what}: {some(keys)}" for what, keys in wrong.items() if keys]:
        raise TeacherError(f"{folder}: the weights do not fit the model; {'; '.join(said)}")
    if projector is None:
        projector = nn.Linear(hidden, PROJECTED)
        projector.load_state_dict({key.rpartition(".")[2]: tensors[key].read() for key in PROJECTOR})
    return Backbone(model, projector.to(device, dtype)).eval().requires_grad_(False)


def trained_dims(config: Any) -> tuple[int, ...]:
    """The prefixes of a vector that were trained, largest first: those of the configuration that are not too long."""
    hidden: int = config.text_config.hidden_size
    dims = getattr(config, "matryoshka_dims", None) or PUBLISHED.dims
    return tuple(sorted({hidden, *(dim for dim in dims if 0 < dim <= hidden)}, reverse=True))


def _read_tokenizer(folder: Path, config: Any) -> tuple[Tokenizer, list[int], list[int]]:
    """A tokenizer without added tokens, and the image prompt's ids before and after its image pad."""
    path = folder / "tokenizer.json"
    try:
        whole = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself
        raise TeacherError(f"{path}: not a readable tokenizer: {error}") from error
    ids = whole.encode(PUBLISHED.image_prompt, add_special_tokens=False).ids
    markers = (config.vision_start_token_id, config.image_token_id, config.vision_end_token_id)
    published = PUBLISHED.image_prompt_ids
    if [one for one in ids if one in markers] != list(markers) or (
        markers[1] in published and ids != [*published]
    ):
        raise TeacherError(
            f"{path}: the image prompt is read as {ids}, which config.json's markers {markers} do not fit"
        )
    place = ids.index(config.image_token_id)
    return _without_added_tokens(whole, path), ids[:place], ids[place + 1 :]


def _without_added_tokens(whole: Tokenizer, path: Path) -> Tokenizer:
    """`whole` with no added tokens at all.

    `encode_special_tokens` would not do: eight of Qwen's added tokens are not marked special, and those are
    recognized in any text. What comes of that: transformers issue 47217, vLLM issue 57740.
    """
    written = json.loads(whole.to_str())
    vocabulary = written["model"]["vocab"]
    if both := [token["content"] for token in written["added_tokens"] if token["content"] in vocabulary]:
        raise TeacherError(
            f"{path}: {some(both)} is in the vocabulary itself: it cannot be kept out of texts"
        )
    written["added_tokens"], written["post_processor"] = [], None
    plain = Tokenizer.from_str(json.dumps(written))
    plain.no_padding()
    plain.no_truncation()
    return plain


def _check_options(
    attention: str, dtype: torch.dtype, device: torch.device, min_pixels: int, max_pixels: int
) -> None:
    if attention not in ATTENTIONS:
        raise DataError(f"attention is {attention!r}: expected one of {', '.join(ATTENTIONS)}")
    if attention == "flash_attention_2" and (device.type != "cuda" or dtype == torch.float32):
        has = f"{dtype_name(dtype)} on {device.type}"
        raise TeacherError(f"flash_attention_2 needs bfloat16 or float16 on cuda, not {has}: use 'sdpa'")
    if not 0 < min_pixels <= max_pixels:
        raise DataError(
            f"pixel limits are {min_pixels} to {max_pixels}: expected 0 < min_pixels <= max_pixels"
        )


def _workspace(config: Any, tokens: int) -> int:
    """Numbers that one batch takes beside the weights, at most: the widest layer's four, of tokens and patches."""
    text, vision = config.text_config, config.vision_config
    patches = tokens * vision.spatial_merge_size**2
    return 4 * max(tokens * text.intermediate_size, patches * vision.intermediate_size)


@functools.cache
def show_licence() -> None:
    """Write the licence notice to standard error, once a process."""
    sys.stderr.write(f"{PUBLISHED.licence}\n")
