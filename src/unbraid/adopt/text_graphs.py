"""The graphs of an adopted text encoder, each compared with torch."""

from pathlib import Path

import torch

from unbraid.adopt.models import TextModel
from unbraid.export.onnx_graphs import export_unfused
from unbraid.export.parity import Parity, compare
from unbraid.export.parity_samples import text_cases

INPUTS = ("input_ids", "attention_mask")


def write_text_graphs(text: TextModel, folder: Path, name: str) -> tuple[dict[str, str], list[Parity]]:
    """Write the graphs of `text` to `folder`; the file by precision, and the parity of each."""
    graphs = {"fp32": f"{name}.fp32.onnx"}
    path = folder / graphs["fp32"]
    export_unfused(text.encoder, torch.zeros((2, 8), dtype=torch.long), "input_ids", path)
    return graphs, [compare(text.encoder, path, INPUTS, text_cases(text.tokenizer), "base_vector")]
