"""all-MiniLM-L6-v2, the reference of the benchmarks, exported and run by this project's own code."""

from pathlib import Path

import torch

from unbraid.base_encoders.text_encoder import TextEncoder, start_text_encoder
from unbraid.bundle import TextSpec
from unbraid.export.onnx_graphs import export_text, quantize
from unbraid.runtime.text import TextRuntime
from unbraid.teacher.minilm import minilm_folder


def minilm_runtime(folder: Path) -> TextRuntime:
    """all-MiniLM-L6-v2 as an int8 graph in `folder`: all six layers, mean pooling, 384-d, unit length."""
    encoder: TextEncoder = start_text_encoder(minilm_folder(), 384, pooled_layers=1)
    torch.nn.init.eye_(encoder.projection.weight)
    export_text(encoder, folder / "minilm.fp32.onnx")
    quantize(folder / "minilm.fp32.onnx", folder / "minilm.int8.onnx")
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_bytes((minilm_folder() / "tokenizer.json").read_bytes())
    spec = TextSpec("minilm", {"int8": "minilm.int8.onnx"}, tokenizer.name, 256, False)
    return TextRuntime(folder, spec, "int8")
