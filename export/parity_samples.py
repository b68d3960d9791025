"""Inputs for the parity check that every machine has: docstrings of Python's standard library, seeded pictures."""

import ast
import inspect
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

MODULES = (
    "argparse",
    "asyncio/tasks",
    "collections/__init__",
    "datetime",
    "email/message",
    "random",
    "shutil",
    "zipfile",
)


@cache
def docstrings() -> tuple[str, ...]:
    """Distinct docstrings of a few standard modules: words, sentences and long passages."""
    found: dict[str, None] = {}
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in MODULES:
        path = library / f"{name}.py"
        if not path.exists():  # a module may become a package in a later Python
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (
                text := ast.get_docstring(node)
            ):
                found[inspect.cleandoc(text)] = None
    return tuple(found)


def text_cases(tokenizer: Tokenizer) -> list[tuple[Tensor, ...]]:
    """Batches of ids and mask: one short, one at full length, eight of like length, eight padded to the longest."""
    encodings = sorted(tokenizer.encode_batch(list(docstrings())), key=lambda encoding: len(encoding.ids))
    middle = len(encodings) // 2
    groups = [encodings[:1], encodings[-1:], *([encodings[i : i + 8] for i in range(0, middle, 8)])]
    groups += [encodings[middle::16], encodings[::24]]
    return [_padded([encoding.ids for encoding in group]) for group in groups if group]


def image_cases(size: int) -> list[tuple[Tensor, ...]]:
    """Batches of one and of four pictures: smooth colour fields and noise, seeded."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 9, size))[None, None, :] * np.cos(np.linspace(0, 7, size))[None, :, None]
    smooth = np.repeat(waves, 3, axis=0)[None].astype(np.float32)
    noise = rng.standard_normal((4, 3, size, size)).astype(np.float32)
    return [(torch.from_numpy(smooth),), (torch.from_numpy(noise),)]


def mapper_cases(dim: int) -> list[tuple[Tensor, ...]]:
    """Batches of one and of sixteen unit vectors, seeded."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(17, dim, generator=generator)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return [(unit[:1],), (unit[1:],)]


def _padded(ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in ids], batch_first=True)
    lengths = torch.tensor([len(one) for one in ids])
    return padded, (torch.arange(padded.shape[1]) < lengths[:, None]).long()
