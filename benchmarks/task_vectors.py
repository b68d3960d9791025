"""Seconds and memory to map stored vectors to another task, beside numpy's `normalize(base @ W.T)`.

    python benchmarks/task_vectors.py [--rows 1000000] [--rounds 3] [--threads 2] [--task query]

Input and output are made before the memory is read, so what is shown is what mapping needs beyond the two arrays.
The two take turns, each round in a process of its own. Core-seconds are processor time of all threads: what a busy
machine does not distort as much. Linux.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path


def resident() -> float:
    """MB of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def probe(rows: int, threads: int, task: str, plain: bool) -> dict[str, float]:
    """Seconds and peak MB beyond the input and the output, of one mapping."""
    import numpy as np

    import unbraid

    model = unbraid.load(threads=threads)
    block = np.random.default_rng(0).standard_normal((10_000, model.dim), np.float32)
    block /= np.linalg.norm(block, axis=1, keepdims=True)
    base = np.resize(block, (rows, model.dim))
    weight = model.matrix(task)
    model.map(base[:10], task)
    before, peak, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin, worked = time.perf_counter(), time.process_time()
    if plain:
        mapped = base @ weight.T
        mapped = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
    else:
        mapped = model.map(base, task)
    seconds, worked = time.perf_counter() - begin, time.process_time() - worked
    done.set()
    watcher.join()
    return {"seconds": seconds, "core-seconds": worked, "MB": peak[0] - before - mapped.nbytes / 1e6}


def main() -> None:
    """Print a row each for this project and for numpy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--task", default="query")
    parser.add_argument("--probe", choices=["map", "numpy"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        plain = arguments.probe == "numpy"
        print(json.dumps(probe(arguments.rows, arguments.threads, arguments.task, plain)))
        return
    threads = str(arguments.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    runs: dict[str, list[dict[str, float]]] = {"map": [], "numpy": []}
    for _ in range(arguments.rounds):
        for system, found in runs.items():
            command = [sys.executable, *sys.argv, "--probe", system]
            found.append(
                json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
            )
    print(
        f"| {arguments.rows:,} vectors, {threads} threads | seconds, median | worst | core-seconds, median | MB beyond the arrays, worst |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for system, found in runs.items():
        name = f"Embedder.map, {arguments.task}" if system == "map" else "numpy, normalize(base @ W.T)"
        seconds = [run["seconds"] for run in found]
        memory = max(run["MB"] for run in found)
        work = statistics.median(run["core-seconds"] for run in found)
        print(
            f"| {name} | {statistics.median(seconds):.1f} | {max(seconds):.1f} | {work:.1f} | {memory:.0f} |"
        )


main()
