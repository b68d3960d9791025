"""Encode a corpus on Ray: the rate beside `encode` in one process, and runs whose processes are killed.

    python benchmarks/cluster.py [--rows 20000] [--tier nano] [--rounds 3] [--kills 30] [--seed 0]

Rate: `Embedder.encode` and Ray encode the same texts on all cores, in turns; the median of rows a second, without the
start of a cluster or process. Kills: a run on a local cluster of two nodes. Again and again the driver, the second node
or a worker is killed (SIGKILL) at a random time; a killed driver is started again. When a corpus is complete, every row
is compared with the result of `encode`, and the next corpus begins. Exits with 1 when a row is lost, doubled or differs.
"""

import argparse
import logging
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import unbraid
from unbraid.cluster import EncoderSpec, encode_corpus
from unbraid.runtime.cpu import usable_cores

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # Ray's default of 15 yields to every other program
WORDS = "the rain falls from clouds over old houses while a red fox searches quiet green fields near rivers".split()


def write_corpus(folder: Path, rows: int) -> list[str]:
    """Write two Parquet files of seeded texts of 12 words; returns the texts, whose ids are their positions."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=12)) for _ in range(rows)]
    for name, first, last in [("a", 0, rows * 2 // 3), ("b", rows * 2 // 3, rows)]:
        pq.write_table(
            pa.table({"id": list(range(first, last)), "text": texts[first:last]}), folder / f"{name}.parquet"
        )
    return texts


def rates(corpus: Path, texts: list[str], tier: str, rounds: int, folder: Path) -> None:
    """Print rows a second with and without Ray."""
    import ray

    ray.init(
        num_cpus=usable_cores(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    model = unbraid.load(tier=tier)
    spec = EncoderSpec(tier=tier)
    encode_corpus([corpus], folder / "warm", spec, shard_rows=1024)
    model.encode(texts[:512], progress=False)
    found: dict[str, list[float]] = {"encode in one process": [], "encode --engine ray": []}
    for turn in range(rounds):
        start = time.perf_counter()
        model.encode(texts, progress=False)
        found["encode in one process"].append(len(texts) / (time.perf_counter() - start))
        start = time.perf_counter()
        encode_corpus([corpus], folder / f"turn{turn}", spec, shard_rows=1024)
        found["encode --engine ray"].append(len(texts) / (time.perf_counter() - start))
    ray.shutdown()
    print(
        f"| {tier}, {usable_cores()} cores, {len(texts):,} texts of 12 words | rows/s, median | of each turn |"
    )
    print("| --- | ---: | --- |")
    for name, values in found.items():
        print(
            f"| {name} | {statistics.median(values):,.0f} | {', '.join(f'{value:,.0f}' for value in values)} |"
        )


def kills(corpus: Path, texts: list[str], tier: str, count: int, rng: random.Random, folder: Path) -> bool:
    """Kill a run `count` times and print what happened to its rows; returns whether all is well."""
    from ray.cluster_utils import Cluster

    expected = unbraid.load(tier=tier).encode(texts, progress=False)
    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "OMP_NUM_THREADS": "1"}
    out, second = folder / "killed", None
    killed: Counter[str] = Counter()
    complete = lost = doubled = wrong = 0
    command = [sys.executable, "-m", "unbraid", "encode", str(corpus), "--engine", "ray", "--tier", tier]
    while killed.total() < count or out.exists():
        if second not in cluster.list_all_nodes():
            with suppress(Exception):  # Ray gives a node 30 s to start, which a busy machine may not have
                second = cluster.add_node(**node)
        driver = subprocess.Popen(
            [*command, "--out", str(out), "--shard-rows", "100"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        while driver.poll() is None:
            try:
                driver.wait(rng.uniform(2, 8))
            except subprocess.TimeoutExpired:
                if killed.total() >= count:
                    continue
                what = rng.choice(["driver", "node", "worker"])
                if what == "driver":
                    driver.kill()
                elif what == "node" and second in cluster.list_all_nodes():
                    cluster.remove_node(second, allow_graceful=False)
                elif what == "worker" and (workers := encoding_processes()):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                else:
                    continue
                killed[what] += 1
        driver.communicate()
        if driver.returncode == 0:
            table = pq.read_table(out)
            times = Counter(table["id"].to_pylist())
            lost += len(texts) - len(times)
            doubled += sum(times.values()) - len(times)
            vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, expected.shape[1])
            near = np.einsum("nd,nd->n", vectors, expected[table["id"].to_numpy()])
            wrong += int((near < 0.99).sum())
            complete += 1
            shutil.rmtree(out)
    cluster.shutdown()
    print(f"| killed: {', '.join(f'{number} × {what}' for what, number in sorted(killed.items()))} | |")
    print("| --- | --- |")
    print(f"| corpora of {len(texts):,} rows completed | {complete} |")
    print(f"| rows lost, doubled, with another vector | {lost}, {doubled}, {wrong} |")
    return not lost + doubled + wrong


def encoding_processes() -> list[int]:
    """Workers of Ray that are in a shard now: Ray puts the task's name into theirs. Linux."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::encode_shard"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found


def main() -> None:
    """Both parts; exit code 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--tier", default="nano")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        texts = write_corpus(folder / "corpus", arguments.rows)
        if arguments.rounds:
            rates(folder / "corpus", texts, arguments.tier, arguments.rounds, folder)
        rng = random.Random(arguments.seed)
        if arguments.kills and not kills(
            folder / "corpus", texts, arguments.tier, arguments.kills, rng, folder
        ):
            sys.exit(1)


main()
