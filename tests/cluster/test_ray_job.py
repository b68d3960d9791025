"""A corpus on a local Ray cluster of two nodes: whatever is killed, every row comes out once."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import unbraid
from unbraid.cluster import EncoderSpec, encode_corpus
from unbraid.cluster import ray_job as run
from unbraid.errors import DataError

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ROWS = 3000


@pytest.fixture(scope="module")
def cluster():
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def second_node(cluster):
    node = cluster.add_node(wait=False, num_cpus=1, object_store_memory=80_000_000)
    cluster.wait_for_nodes(timeout=300)  # 30 seconds, which add_node waits, are too few on busy cores
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "sub").mkdir()
    for name, first, last in [("a", 0, 2000), ("sub/b", 2000, ROWS)]:
        ids = list(range(first, last))
        texts = [None if number % 1000 == 7 else f"moon {number} cat" for number in ids]
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"{name}.parquet", row_group_size=300)
    return folder


@pytest.fixture(scope="module")
def spec(bundle_folder) -> EncoderSpec:
    return EncoderSpec(model=str(bundle_folder), tier="nano")


def check(out: Path) -> None:
    """Every row of the corpus is in `out` once, with its vector or its reason, and nothing else is."""
    table = pq.read_table(out)
    assert sorted(table["id"].to_pylist()) == list(range(ROWS))
    without = table.filter(table["vector"].is_null())
    assert sorted(without["id"].to_pylist()) == [7, 1007, 2007]
    assert set(without["error"].to_pylist()) == {"there is no text: the value is null"}
    assert [path.name for path in out.rglob("*") if path.is_file() and path.suffix != ".parquet"] == []


def files(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*.parquet")}


def wait_for(out: Path, count: int, shards: int) -> int:
    """How many of `shards` there are, as soon as there are `count`."""
    for _ in range(6000):
        if len(files(out)) >= count:
            break
        time.sleep(0.01)
    assert count <= len(files(out)) < shards
    return len(files(out))


def test_a_node_that_dies_loses_and_doubles_nothing(cluster, second_node, corpus, spec, tmp_path):
    there = []

    def kill() -> None:
        there.append(wait_for(tmp_path, 5, 300))
        cluster.remove_node(second_node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    report = encode_corpus([corpus], tmp_path, spec, shard_rows=10)
    killer.join()
    assert 5 <= there[0] < 300  # it died while there was work
    assert (report.encoded, report.rejected, report.failed) == (ROWS - 3, 3, {})
    check(tmp_path)


def test_a_driver_that_was_killed_goes_on_where_it_stopped(cluster, corpus, spec, tmp_path):
    command = [
        sys.executable,
        "-m",
        "unbraid",
        "encode",
        str(corpus),
        "--engine",
        "ray",
        "--out",
        str(tmp_path),
    ]
    command += ["--model", str(spec.model), "--tier", "nano", "--shard-rows", "10"]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_for(tmp_path, 5, 300)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # what its workers had begun may still be written
    before = files(tmp_path)
    report = encode_corpus([corpus], tmp_path, spec, shard_rows=10)
    assert report.before == 10 * len(before) and report.before + report.encoded + 3 >= ROWS
    assert {path: files(tmp_path)[path] for path in before} == before
    check(tmp_path)


def test_vectors_are_those_of_encode_in_the_order_of_the_corpus(cluster, corpus, spec, tmp_path):
    asked = EncoderSpec(spec.model, spec.tier, task="query", dim=64, numbers="float16")
    report = encode_corpus([corpus / "a.parquet"], tmp_path, asked, shard_rows=1500)
    table = pq.read_table(tmp_path)
    assert (report.rows, table["vector"].type) == (2000, pa.list_(pa.float16(), 64))
    kept = table.filter(table["error"].is_null())
    texts = [f"moon {number} cat" for number in kept["id"].to_pylist()[:50]]
    embedder = unbraid.load(spec.model, tier="nano")
    vectors = kept["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 64)[:50]
    np.testing.assert_allclose(vectors, embedder.encode(texts, task="query", dim=64), atol=1e-3)


def test_a_shard_that_fails_does_not_stop_the_others(cluster, corpus, spec, tmp_path):
    (tmp_path / "a-000000000010.parquet").mkdir()  # where a file should be
    report = encode_corpus([corpus / "a.parquet"], tmp_path, spec, shard_rows=10)
    assert list(report.failed) == ["a-000000000010.parquet"]
    assert "cannot be written: Is a directory" in report.failed["a-000000000010.parquet"]
    assert report.encoded == 1990 - 2
    (tmp_path / "a-000000000010.parquet").rmdir()
    again = encode_corpus([corpus / "a.parquet"], tmp_path, spec, shard_rows=10)
    assert (again.before, again.encoded, again.failed) == (1990, 10, {})


# -- what needs no cluster -----------------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch):
    """Shards are encoded in this process, as a worker does it."""

    def run_here(job, left, report, workers):
        for shard in left:
            rejected, report.warnings = run.encode_shard(job, shard)
            report.encoded += shard.rows - rejected
            report.rejected += rejected

    monkeypatch.setattr(run, "_run", run_here)
    monkeypatch.setattr(run, "_cluster", run.nullcontext)


def test_a_second_run_encodes_nothing(here, corpus, spec, tmp_path):
    assert encode_corpus([corpus], tmp_path, spec).encoded == ROWS - 3
    before = files(tmp_path)
    again = encode_corpus([corpus], tmp_path, spec)
    assert (again.before, again.encoded, again.rejected) == (ROWS, 0, 3)
    assert files(tmp_path) == before
    check(tmp_path)


def test_a_file_that_changed_is_encoded_again(here, spec, tmp_path):
    path, out = tmp_path / "a.parquet", tmp_path / "out"
    for text in ("cat", "dog"):
        pq.write_table(pa.table({"id": [1], "text": [text]}), path)
        assert encode_corpus([path], out, spec).encoded == 1
    expected = unbraid.load(spec.model, tier="nano").encode(["dog"])
    np.testing.assert_allclose(pq.read_table(out)["vector"].to_pylist(), expected, atol=1e-6)


def test_vectors_of_another_encoder_or_corpus_are_never_mixed(here, corpus, spec, tmp_path):
    out = tmp_path / "out"
    encode_corpus([corpus / "a.parquet"], out, spec, shard_rows=1000)
    for other, says in [
        (EncoderSpec(spec.model, "small"), "whose tier is nano, not small"),
        (EncoderSpec(spec.model, "nano", task="code"), "whose mapper_id is None"),
        (EncoderSpec(spec.model, "nano", numbers="float16"), "whose numbers is float32, not float16"),
    ]:
        with pytest.raises(DataError, match=f"{says}.*choose another folder"):
            encode_corpus([corpus / "a.parquet"], out, other, shard_rows=1000)
    with pytest.raises(DataError, match="whose id_column is id, not text"):
        encode_corpus([corpus / "a.parquet"], out, spec, id="text", shard_rows=1000)
    for paths, rows in [([corpus / "sub"], 1000), ([corpus / "a.parquet"], 2000)]:
        with pytest.raises(DataError, match="which this corpus does not have"):
            encode_corpus(paths, out, spec, shard_rows=rows)


def test_a_folder_within_the_corpus_is_refused(corpus, spec):
    with pytest.raises(DataError, match="the next run would encode vectors"):
        encode_corpus([corpus], corpus / "vectors", spec)


@pytest.mark.parametrize(("mark", "says"), [(None, "does not have"), ("other", "has another run in")])
def test_a_node_that_does_not_share_the_folder_is_told(here, corpus, spec, tmp_path, monkeypatch, mark, says):
    def lose_mark(job, left, report, workers):
        (tmp_path / run.MARK).unlink()
        if mark:
            (tmp_path / run.MARK).write_text(mark)
        run.encode_shard(job, left[0])

    monkeypatch.setattr(run, "_run", lose_mark)
    with pytest.raises(DataError, match=f"{says} .* every node shares, for one run at a time"):
        encode_corpus([corpus], tmp_path, spec)
    assert (tmp_path / run.MARK).exists() == (mark is not None)  # another run's is left to it


def test_a_node_with_another_bundle_is_told(here, corpus, spec, tmp_path, monkeypatch):
    def other(job, left, report, workers):
        monkeypatch.setattr(run, "describe", lambda spec: {"base_id": "other"})
        run.encode_shard(job, left[0])

    monkeypatch.setattr(run, "_run", other)
    with pytest.raises(DataError, match="has another encoder .* its base_id differs"):
        encode_corpus([corpus], tmp_path, spec)


def test_texts_that_are_cut_are_told(here, spec, tmp_path):
    pq.write_table(pa.table({"id": [1, 2], "text": ["moon " * 100, "cat"]}), tmp_path / "a.parquet")
    report = encode_corpus([tmp_path / "a.parquet"], tmp_path / "out", EncoderSpec(spec.model))
    assert "1 of 2 items are longer than 24 tokens" in report.warnings[0]


def test_pictures_come_as_bytes_or_as_paths_from_the_corpus(here, spec, tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    content = (tmp_path / "red.png").read_bytes()
    rows = [
        {"bytes": content, "path": None},
        {"bytes": None, "path": "red.png"},
        {"bytes": content[:40], "path": None},
    ]
    pq.write_table(pa.table({"id": [1, 2, 3], "image": rows}), tmp_path / "a.parquet")
    report = encode_corpus([tmp_path / "a.parquet"], tmp_path / "out", spec)
    one, two, broken = pq.read_table(tmp_path / "out").to_pylist()
    assert (report.encoded, report.rejected) == (2, 1) and broken["error"]
    expected = unbraid.load(spec.model).encode([tmp_path / "red.png"])[0]
    for row in (one, two):
        np.testing.assert_allclose(row["vector"], expected, atol=1e-5)
