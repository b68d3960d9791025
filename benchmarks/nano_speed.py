"""Short texts a second on one core, tokenizing included: the nano tier, the tokenizers library alone, small, MiniLM.

    python benchmarks/nano_speed.py [BUNDLE] [--rounds 9]

All systems take turns in one process on the same texts: sentences of docstrings of Python's standard library. Every
round has new sentences, so that the cache meets new words as in real use. The clock is processor time, which other
programs disturb less; a ratio is the median of the ratios of each round. Where the bundle has no nano tier, a random
table of the usual shape replaces it: the speed is the same.
"""

import argparse
import ast
import os
import random
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"  # the tokenizer's threads; read when it is first used

import torch
from minilm_int8 import minilm_runtime
from tokenizers import Tokenizer

import unbraid
from unbraid.base_encoders.static_encoder import StaticEncoder
from unbraid.bundle import Bundle, TextSpec
from unbraid.export.onnx_graphs import export_static
from unbraid.export.text_tiers import STATIC_BATCH
from unbraid.runtime.text import TextRuntime
from unbraid.runtime.word_cache import library_ids

TEXTS = 1000  # a round; transformers get the first SLOW of them
SLOW = 50


def sentences(count: int) -> list[str]:
    """Distinct short sentences of docstrings of the standard library, shuffled."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, None] = {}
    for path in [*sorted(library.glob("*.py")), *sorted(library.glob("[a-r]*/*.py"))]:  # no site-packages
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8-sig", errors="replace"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = " ".join((ast.get_docstring(node) or "").split())
                found |= dict.fromkeys(part for part in text.split(". ") if 20 < len(part) < 120)
    made = list(found)
    random.Random(0).shuffle(made)
    return made[:count]


def nano_runtime(bundle: Bundle, scratch: Path) -> TextRuntime:
    """The nano tier of `bundle` in int8, or a random one."""
    if "nano" in bundle.tiers:
        return TextRuntime(bundle.folder, bundle.tiers["nano"]["text"], "int8")
    tokenizer = bundle.folder / bundle.text["text"].tokenizer
    tokens = Tokenizer.from_file(str(tokenizer)).get_vocab_size()
    export_static(
        StaticEncoder(torch.randn(tokens, 256), torch.randn(512, 256)), scratch / "nano.onnx", int8=True
    )
    (scratch / "nano.tokenizer.json").write_bytes(tokenizer.read_bytes())
    return TextRuntime(
        scratch,
        TextSpec("nano", {"int8": "nano.onnx"}, "nano.tokenizer.json", 256, False, STATIC_BATCH),
        None,
    )


def encode(runtime: TextRuntime) -> Callable[[list[str]], object]:
    """Tokenize and encode on one thread."""
    return lambda texts: runtime.encode(runtime.tokenize(texts)[0], threads=1, progress=False)


def main() -> None:
    """Measure and print one row a system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", help="a bundle; the starter if left out")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    bundle = unbraid.load(arguments.bundle).bundle
    with tempfile.TemporaryDirectory() as scratch:
        nano = nano_runtime(bundle, Path(scratch))
        systems: dict[str, tuple[int, Callable[[list[str]], object]]] = {
            "nano": (TEXTS, encode(nano)),
            "tokenizers library alone": (TEXTS, lambda texts: library_ids(nano.tokenizer, texts)),
            "nano's tokenizing alone, words known": (TEXTS, nano.tokenize),
            "small int8": (SLOW, encode(TextRuntime(bundle.folder, bundle.text["text"], "int8"))),
            "all-MiniLM-L6-v2 int8": (SLOW, encode(minilm_runtime(Path(scratch)))),
        }
        texts = sentences(TEXTS * (arguments.rounds + 1))
        rates: dict[str, list[float]] = {name: [] for name in systems}
        lengths: list[int] = []
        for number in range(len(texts) // TEXTS):
            part = texts[number * TEXTS : (number + 1) * TEXTS]
            lengths += map(len, nano.tokenizer.encode_batch(part))
            for name, (count, work) in systems.items():
                start = time.process_time()
                work(part[:count])
                rate = count / (time.process_time() - start)
                if number:  # the first round warms up
                    rates[name].append(rate)
    print(f"texts of {statistics.mean(lengths):.1f} tokens, rounds: {len(rates['nano'])}\n")
    print("| system | texts/s, median (best) | nano is faster by, median (worst) |\n| --- | ---: | ---: |")
    for name, found in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(rates["nano"], found, strict=True)]
        print(
            f"| {name} | {statistics.median(found):,.0f} ({max(found):,.0f}) | {statistics.median(ratios):.2f} ({min(ratios):.2f}) |"
        )


main()
