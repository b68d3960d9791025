"""Encode a corpus on a Ray cluster, or on this machine's cores where none runs.

Each shard of the input becomes one output file, written atomically. A file that exists is not made again, so a run may
be killed at any time, on any node, and started again. Shards are Ray tasks, and a worker process keeps its encoder
between them; when a node dies, its tasks run elsewhere at once. docs/decisions.md says why this does not use Ray Data.
"""

import json
import logging
import os
import platform
import sys
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from unbraid.cluster.corpus import (
    Columns,
    Shard,
    find_columns,
    find_sources,
    parquet_files,
    read_rows,
    split_into_shards,
)
from unbraid.cluster.encoder import EncoderSpec, load_encoder
from unbraid.cluster.row_items import encode_rows
from unbraid.cluster.vector_shard import read_about, source_of, write_shard
from unbraid.errors import DataError, UnbraidError
from unbraid.items import Modality
from unbraid.progress import counting

# A file that proves to workers that they see the driver's output folder; Parquet readers skip it.
MARK = "_run"
ROWS = 4096  # of a shard: 8 MB of float32, the most that a dying worker loses
RETRIES = 5  # of a shard whose worker or node died
FAILURES = 20  # shards; with more failures the run stops


@dataclass(frozen=True)
class Job:
    """What all shards share; `about` is written into each of them."""

    spec: EncoderSpec
    columns: Columns
    out: str
    mark: str
    about: Mapping[str, Any]


@dataclass
class Report:
    """Counts of the corpus's rows; without an interrupt or failures they add up to all rows."""

    rows: int
    before: int = 0  # done by earlier runs, rejected ones included
    encoded: int = 0
    rejected: int = 0  # in all runs
    failed: dict[str, str] = field(default_factory=dict)  # shard -> why; another run tries it again
    warnings: list[str] = field(default_factory=list)  # of the first shard that had any, in this run
    interrupted: bool = False


def encode_corpus(
    paths: Sequence[Path],
    out: Path,
    spec: EncoderSpec,
    *,
    id: str = "id",
    column: str | None = None,
    modality: Modality | None = None,
    shard_rows: int = ROWS,
    workers: int | None = None,
) -> Report:
    """Encode every row of the Parquet files `paths`, or in the folders `paths`, into Parquet files below `out`.

    The output has a row for each row of the input, in its order: "id", "vector" (a fixed-size list), and "error", the
    reason where a row has no vector. The metadata holds the provenance of the vectors and of the rows. Rows of an
    earlier run are kept; rows of a file that has changed since are encoded again. At most `workers` shards are encoded
    at a time; None means one for each core (for a teacher one for each GPU, where there are GPUs).

    Uses the cluster at RAY_ADDRESS or on this machine, or starts one here. Inputs and `out` must lie on storage that
    every node has at the same path. Raises DataError when the input or `out` cannot be used.
    """
    sources = find_sources(paths)
    columns = find_columns(sources, id, column, modality)
    out = out.absolute()
    if inside := [path for path in paths if path.is_dir() and out.is_relative_to(path.absolute())]:
        raise DataError(
            f"{out} lies in {inside[0]}, so the next run would encode vectors: choose another folder"
        )
    shards = split_into_shards(sources, shard_rows)
    total = sum(shard.rows for shard in shards)
    with nullcontext() if spec.teacher is None else _cluster():
        names = {"id_column": columns.id, "column": columns.content, "modality": columns.modality}
        about = {**_about(spec), **names}
        rejected = _finished(out, shards, about)
        left = [shard for shard in shards if shard.out not in rejected]
        before = total - sum(shard.rows for shard in left)
        report = Report(total, before, rejected=sum(rejected.values()))
        if left:
            job = Job(spec, columns, str(out), uuid.uuid4().hex, about)
            with _marked(out, job.mark), _cluster():  # the workers end before their mark goes
                _run(job, left, report, workers)
    if not report.interrupted and not report.failed:
        for leftover in out.rglob(".*.parquet.*.new"):  # unfinished files of killed workers
            leftover.unlink(missing_ok=True)
    return report


def encode_shard(job: Job, shard: Shard) -> tuple[int, list[str]]:
    """Encode and write one shard, on a worker. Returns the number of rejected rows, and the warnings."""
    out = Path(job.out)
    _check_mark(out, job.mark)
    encoder = load_encoder(job.spec)
    if wrong := {name for name, value in describe(job.spec).items() if job.about.get(name) != value}:
        raise DataError(
            f"node {platform.node()} has another encoder than where the run was started, its {min(wrong)} differs: "
            "give every node the same bundle and the same unbraid"
        )
    ids, contents = read_rows(shard, job.columns)
    vectors = np.zeros((shard.rows, encoder.empty.shape[1]), encoder.empty.dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        folder = Path(shard.source.path).parent
        reasons = encode_rows(
            contents, job.columns.modality, folder, encoder.encode, vectors, encoder.at_least
        )
    write_shard(out, shard, ids, vectors, reasons, job.about)
    return sum(reason is not None for reason in reasons), [str(one.message) for one in caught]


def _run(job: Job, left: Sequence[Shard], report: Report, workers: int | None) -> None:
    """Run the shards `left` on the cluster and count them in `report`; Ctrl-C ends it at once."""
    # Without max_calls Ray ends a process after each task on a GPU, and with it the loaded teacher.
    task = ray.remote(num_cpus=1, num_gpus=_gpus(job.spec), max_retries=RETRIES, max_calls=0)(encode_shard)
    waiting = iter(left)
    running: dict[Any, Shard] = {}
    with counting("encode", unit="rows", total=report.rows, done=report.before) as done:
        try:
            while len(report.failed) <= FAILURES:
                # Submit more than run at a time, so that no core waits for this loop; the cluster may grow or shrink.
                room = workers or 2 * int(ray.cluster_resources().get("CPU", 1))
                for shard in islice(waiting, max(0, room - len(running))):
                    running[task.remote(job, shard)] = shard
                if not running:
                    return
                for reference in ray.wait(list(running), timeout=10)[0]:
                    shard = running.pop(reference)
                    _count(report, shard, reference)
                    done(shard.rows)
        except KeyboardInterrupt:
            report.interrupted = True
        for reference in running:
            ray.cancel(reference, force=True)


def _count(report: Report, shard: Shard, reference: Any) -> None:
    """Add the result of a shard's task to the report."""
    try:
        rejected, warned = ray.get(reference)
    except RayError as error:
        report.failed[shard.out] = _reason(error)
        return
    report.encoded += shard.rows - rejected
    report.rejected += rejected
    if warned and not report.warnings:
        report.warnings = [f"{shard.out}: {message}" for message in warned]


def _reason(error: RayError) -> str:
    if isinstance(error, RayTaskError):
        cause = error.cause
        return str(cause) if isinstance(cause, UnbraidError) else f"{type(cause).__name__}: {cause}"
    return f"its worker died {RETRIES + 1} times: {str(error).splitlines()[0]}"


def _about(spec: EncoderSpec) -> dict[str, Any]:
    """The provenance of the vectors. A bundle is loaded here, a teacher on the node where it will run."""
    if spec.teacher is None:
        return describe(spec)
    try:
        found: dict[str, Any] = ray.get(ray.remote(num_cpus=1, num_gpus=_gpus(spec))(describe).remote(spec))
        return found
    except RayTaskError as error:
        if isinstance(error.cause, UnbraidError):
            raise error.cause from None
        raise


def describe(spec: EncoderSpec) -> dict[str, Any]:
    """The provenance of a spec's vectors, as JSON gives it back from a file."""
    about: dict[str, Any] = json.loads(json.dumps(load_encoder(spec).about))
    return about


def _gpus(spec: EncoderSpec) -> int:
    return int(spec.teacher is not None and ray.cluster_resources().get("GPU", 0) > 0)


def _finished(out: Path, shards: Sequence[Shard], about: Mapping[str, Any]) -> dict[str, int]:
    """The shards that `out` has already, each with its number of rejected rows.

    Raises DataError when `out` holds vectors of another encoder or corpus, or other files.
    """
    wanted = {shard.out: shard for shard in shards}
    found = {}
    for path in parquet_files(out):
        name, known = path.relative_to(out).as_posix(), read_about(path)
        if differ := sorted(field for field in about if known.get(field) != about[field]):
            have, want = known.get(differ[0]), about[differ[0]]
            raise DataError(
                f"{out} holds vectors whose {differ[0]} is {have}, not {want}: choose another folder"
            )
        if name not in wanted:
            raise DataError(
                f"{out} holds {name}, which this corpus does not have: choose another folder, or the same input and "
                "--shard-rows as before"
            )
        if known["source"] == source_of(wanted[name]):
            found[name] = int(known["rejected"])
    return found


@contextmanager
def _cluster() -> Iterator[None]:
    """Connect to a cluster: the connected one, the one at RAY_ADDRESS, the one of this machine, or a new one."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with redirect_stdout(sys.stderr):  # Ray reports on standard output that a node died
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _marked(out: Path, mark: str) -> Iterator[None]:
    path = out / MARK
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(mark)
    except OSError as error:
        raise DataError(f"{out}: cannot be written to: {error.strerror or error}") from error
    try:
        yield
    finally:
        if path.exists() and path.read_text() == mark:
            path.unlink()


def _check_mark(out: Path, mark: str) -> None:
    """Raise DataError unless `out` is the driver's own folder; otherwise a node would write into a folder of its own."""
    try:
        found = (out / MARK).read_text()
    except FileNotFoundError:
        found = None
    if found != mark:
        why = "does not have" if found is None else "has another run in"
        raise DataError(
            f"node {platform.node()} {why} {out}: use a folder that every node shares, for one run at a time"
        )
