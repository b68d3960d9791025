"""Items a second on one core: a bundle's text tiers against all-MiniLM-L6-v2, all int8 ONNX.

    python benchmarks/speed.py [BUNDLE] [--rounds 9]

This project's own exporter exports, fuses and quantizes all-MiniLM-L6-v2, and this project's own runtime runs it (same
batches), so the ratio compares graphs and not the code around them. They take turns in one process; the table shows the
median over rounds and the median of the per-round ratios. The texts are docstrings of Python's
standard library, joined and cut to the wanted length. The time includes tokenizing.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"  # the tokenizer's threads; read when it is first used

from minilm_int8 import minilm_runtime

import unbraid
from unbraid.export.parity_samples import docstrings
from unbraid.runtime.text import TextRuntime

LENGTHS = {32: 96, 256: 16}  # tokens -> texts a round
MINILM = "all-MiniLM-L6-v2"


def texts(runtime: TextRuntime, tokens: int, count: int) -> list[str]:
    """`count` texts of about `tokens` tokens each, special tokens included."""
    words = " ".join(docstrings()).split()
    made: list[str] = []
    start = 0
    while len(made) < count:
        size = tokens // 2
        while (
            len(runtime.tokenize([" ".join(words[start : start + size + 1])])[0][0]) < tokens
            and size < tokens
        ):
            size += 1
        made.append(" ".join(words[start : start + size]))
        start = (start + size) % (len(words) - tokens)
    return made


def seconds(runtime: TextRuntime, items: list[str]) -> float:
    """Wall-clock time to encode `items` on one thread, tokenizing included."""
    start = time.perf_counter()
    ids, _ = runtime.tokenize(items)
    runtime.encode(ids, threads=1, progress=False)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print one row for each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", help="a bundle; the starter if left out")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    bundle = unbraid.load(arguments.bundle).bundle
    with tempfile.TemporaryDirectory() as scratch:
        minilm = minilm_runtime(Path(scratch))
        systems = {MINILM: minilm} | {
            tier: TextRuntime(bundle.folder, specs["text"], "int8")
            for tier, specs in bundle.tiers.items()
            if tier != "nano"
        }
        print(
            f"| {bundle.name} {bundle.version} | tokens | int8, items/s | ratio to {MINILM} (median; worst) |"
        )
        print("| --- | --- | --- | --- |")
        for tokens, count in LENGTHS.items():
            items = texts(minilm, tokens, count)
            rates: dict[str, list[float]] = {name: [] for name in systems}
            for round_number in range(arguments.rounds + 1):
                for name, runtime in systems.items():
                    rate = count / seconds(runtime, items)
                    if round_number:  # the first round warms up
                        rates[name].append(rate)
            for name, rate in rates.items():
                ratios = [a / b for a, b in zip(rate, rates[MINILM], strict=True)]
                shown = f"{statistics.median(rate):,.0f} | {statistics.median(ratios):.2f}; {min(ratios):.2f}"
                print(f"| {name} | {tokens} | {shown} |", flush=True)


main()
