"""Encode a corpus on a Ray cluster, or on this machine's cores where none runs.

A shard of the input becomes one file of the output, written whole by a rename. A file that is there is not made again,
so a run may be killed at any time, here or on any node, and started again. Shards are Ray tasks, and a worker process
keeps its encoder between them: a task whose node dies is run elsewhere at once. docs/decisions.md says why not with
Ray Data's actors and checkpoints.
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

from unbraid.cluster.corpus import Columns, Shard, cut, find_columns, find_sources, parquet_files, read_rows
from unbraid.cluster.encoder import EncoderSpec, load_encoder
from unbraid.cluster.row_items import encode_rows
from unbraid.cluster.vector_shard import UNFINISHED, read_about, source_of, write_shard
from unbraid.errors import DataError, UnbraidError
from unbraid.items import Modality
from unbraid.progress import counting

MARK = "_run"  # file in the output folder that tells workers it is the driver's; readers of Parquet folders skip it
ROWS = 4096  # of a shard: 8 MB of float32, and what one worker can lose
RETRIES = 5  # of a shard whose worker or node died
FAILURES = 20  # shards; with more of them something is wrong that going on does not help


@dataclass(frozen=True)
class Job:
    """What is the same for every shard; `about` is written into each."""

    spec: EncoderSpec
    columns: Columns
    out: str
    mark: str
    about: Mapping[str, Any]


@dataclass
class Report:
    """Rows of the corpus by what became of them; without an interrupt or failures they add up to all."""

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

    They have a row for each row of the input, in its order: "id", "vector" (a fixed-size list), and "error", which says
    why a row has no vector. Their metadata says what the vectors were made with and from which rows. Rows that are there
    from an earlier run are left as they are; those of a file that has changed since are encoded again. At most
    `workers` shards are encoded at a time, one a core if None (one a GPU for a teacher where there are GPUs).

    Uses the cluster at RAY_ADDRESS or on this machine, else starts one here; inputs and `out` must be on storage that
    every node has at the same path. Raises DataError when the input or `out` is not fit for it.
    """
    sources = find_sources(paths)
    columns = find_columns(sources, id, column, modality)
    out = out.absolute()
    if inside := [path for path in paths if path.is_dir() and out.is_relative_to(path.absolute())]:
        raise DataError(
            f"{out} lies in {inside[0]}, so the next run would encode vectors: choose another folder"
        )
    shards = cut(sources, shard_rows)
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
        for leftover in out.rglob(f".*{UNFINISHED}"):  # of workers that were killed
            leftover.unlink(missing_ok=True)
    return report


def encode_shard(job: Job, shard: Shard) -> tuple[int, list[str]]:
    """Encode and write one shard; returns how many of its rows were rejected, and what was warned of. Runs on a worker."""
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
        reasons = encode_rows(contents, job.columns.modality, folder, encoder.encode, vectors)
    write_shard(out, shard, ids, vectors, reasons, job.about)
    return sum(reason is not None for reason in reasons), [str(one.message) for one in caught]


def _run(job: Job, left: Sequence[Shard], report: Report, workers: int | None) -> None:
    """Keep the cluster busy until `left` is done, counting in `report`; Ctrl-C ends it at once."""
    # Without max_calls Ray ends a process after each task on a GPU, and with it the loaded teacher.
    task = ray.remote(num_cpus=1, num_gpus=_gpus(job.spec), max_retries=RETRIES, max_calls=0)(encode_shard)
    waiting = iter(left)
    running: dict[Any, Shard] = {}
    with counting("encode", unit="rows", total=report.rows, done=report.before) as done:
        try:
            while len(report.failed) <= FAILURES:
                # More than run at a time, so that none waits for this loop; the cluster may grow or shrink.
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
    """Add what came of a shard's task to the report."""
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
    """What the encoder says of its vectors: a student is loaded here, a teacher where it will run."""
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
    """What the encoder of a spec says of its vectors, as it comes back from a file."""
    about: dict[str, Any] = json.loads(json.dumps(load_encoder(spec).about))
    return about


def _gpus(spec: EncoderSpec) -> int:
    return int(spec.teacher is not None and ray.cluster_resources().get("GPU", 0) > 0)


def _finished(out: Path, shards: Sequence[Shard], about: Mapping[str, Any]) -> dict[str, int]:
    """The shards that `out` has already, and how many rows each rejected.

    Raises DataError when it has vectors of another encoder or corpus, or something else.
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
                f"{out} holds {name}, which no rows of this corpus become: choose another folder, or the same input and "
                "--shard-rows as before"
            )
        if known["source"] == source_of(wanted[name]):
            found[name] = int(known["rejected"])
    return found


@contextmanager
def _cluster() -> Iterator[None]:
    """A cluster to run on: the one that is connected, that at RAY_ADDRESS, the one of this machine, or a new one."""
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
    """Raise DataError unless `out` is the driver's own folder: else a node would write where nobody looks."""
    try:
        found = (out / MARK).read_text()
    except FileNotFoundError:
        found = None
    if found != mark:
        why = "does not have" if found is None else "has another run in"
        raise DataError(
            f"node {platform.node()} {why} {out}: it has to be a folder that every node shares, for one run at a time"
        )
