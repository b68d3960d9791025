"""A bundle, exported for sentence-transformers and adopted again, gives its own vectors."""

from dataclasses import replace

import numpy as np
import pytest

from unbraid import load
from unbraid.adopt import adopt
from unbraid.bundle import read_bundle
from unbraid.embedder import Embedder
from unbraid.stock_modules import export_stock_folder

TEXTS = ["a red house", "the cat is in the house and the dog by the river " * 4, "x", "green moon, 42!"]


@pytest.fixture(scope="module", params=["small", "nano"])
def pair(request, tiny, tmp_path_factory):
    """The tiny bundle with one tier, and what comes back, both in float32."""
    folder = tmp_path_factory.mktemp("round")
    export_stock_folder(read_bundle(tiny.bundle), folder / "stock", tier=request.param)
    adopt(folder / "stock", folder / "again")
    first = load(tiny.bundle, tier=request.param, precision="fp32")
    return first, load(folder / "again", precision="fp32")


@pytest.mark.parametrize("task", [None, "query", "document", "symmetric", "code"])
def test_vectors_of_every_task_come_back(pair, task):
    before, after = pair
    vectors = [one.encode(TEXTS, task=task, on_truncate="ignore") for one in pair]
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-4
    assert (after.dim, after.search_modes) == (before.dim, before.search_modes)


def test_mappers_are_mappers_again(pair):
    before, after = pair
    assert {task: spec.kind for task, spec in after.bundle.mappers.items()} == dict.fromkeys(
        before.tasks, "linear"
    )
    assert after.query_tier == after.tier == "small"
    for task in before.tasks:
        assert np.abs(before.matrix(task) - after.matrix(task)).max() < 1e-3


def test_prompts_come_back(tiny, tmp_path):
    bundle = read_bundle(tiny.bundle)
    prompted = {kind: replace(spec, prefix="red cat ") for kind, spec in bundle.tiers["nano"].items()}
    bundle = replace(bundle, tiers={**bundle.tiers, "nano": prompted})
    export_stock_folder(bundle, tmp_path / "stock", tier="nano")
    adopt(tmp_path / "stock", tmp_path / "again")
    before, after = (
        Embedder(bundle, tier="nano", precision="fp32"),
        load(tmp_path / "again", precision="fp32"),
    )
    for task in (None, "query", "document", "code"):
        vectors = [one.encode(TEXTS, task=task, on_truncate="ignore") for one in (before, after)]
        assert np.abs(vectors[0] - vectors[1]).max() < 1e-4


def test_fewer_dimensions_keep_the_mappers(tiny, tmp_path):
    export_stock_folder(read_bundle(tiny.bundle), tmp_path / "stock", tier="nano")
    adopt(tmp_path / "stock", tmp_path / "fewer", dim=32)
    before, after = (
        load(tiny.bundle, tier="nano", precision="fp32"),
        load(tmp_path / "fewer", precision="fp32"),
    )
    first, second = (one.encode(TEXTS, on_truncate="ignore") for one in (before, after))
    assert np.abs(first @ first.T - second @ second.T).max() < 1e-3  # the tier nano is of rank 16
    assert after.matrix("query").shape == (32, 32)
