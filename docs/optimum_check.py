"""Open a bundle's text graph with optimum and compare its vectors with unbraid's. See docs/optimum.md."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from optimum.onnxruntime import ORTModelForCustomTasks
from transformers import PreTrainedTokenizerFast

import unbraid

TEXTS = ["a short text", "Whether two runtimes agree is best asked of both, with the same words.", "one"]

model = unbraid.load(sys.argv[1] if len(sys.argv) > 1 else None, threads=1)
folder, spec = model.bundle.folder, model.bundle.text["text"]
graph = next(iter(spec.graphs.values()))
with tempfile.TemporaryDirectory() as scratch:
    (Path(scratch) / "model.onnx").write_bytes((folder / graph).read_bytes())
    (Path(scratch) / "config.json").write_text(json.dumps({"model_type": "bert"}))
    other = ORTModelForCustomTasks.from_pretrained(scratch, file_name="model.onnx")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / spec.tokenizer))
    for text in TEXTS:  # one at a time: int8 graphs scale activations by batch
        tokens = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        vector = torch.as_tensor(other(**tokens)["base_vector"]).numpy()[0]
        (ours,) = model.encode([text])
        sys.stdout.write(f"{graph}  largest difference {np.abs(vector - ours).max():.1e}  {text[:40]!r}\n")
