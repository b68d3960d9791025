import numpy as np

from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.space.base_space import fit_base_space
from unbraid.distill.space.fit_space import HELD_OUT, fit_space, split


def labelled(n, first=0):
    """Labels whose only coordinate says which row they are."""
    keys = [f"item {row}" for row in range(first, first + n)]
    vectors = {"plain": np.arange(first, first + n, dtype=np.float16)[:, None]}
    return Labels(keys, ["text"] * n, [""] * n, vectors, keys)


def store(folder, shards, dim):
    with open_labels(folder, Description("fake", {}, ("plain",), dim)) as opened:
        opened.want({key for shard in shards for key in shard.keys})
        for shard in shards:
            opened.append(shard)
    return folder


def test_every_tenth_item_is_held_out_whatever_the_shards():
    parts = list(split([labelled(7), labelled(15, 7), labelled(20, 22)]))
    held = [int(row) for _, part in parts for row in part["plain"][:, 0]]
    fitted = [int(row) for part, _ in parts for row in part["plain"][:, 0]]
    assert held == [9, 19, 29, 39]
    assert sorted(held + fitted) == list(range(42))


def test_no_more_than_4096_are_held_out():
    n = 10 * HELD_OUT + 100
    shard = Labels([], [], [], {"plain": np.zeros((n, 1), np.float16)}, [""] * n)
    ((fitted, held),) = split([shard])
    assert (len(fitted["plain"]), len(held["plain"])) == (n - HELD_OUT, HELD_OUT)


def random_shard(n, dim, seed):
    vectors = np.random.default_rng(seed).standard_normal((n, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = [f"{seed} {row}" for row in range(n)]
    return Labels(keys, ["text"] * n, [""] * n, {"plain": vectors.astype(np.float16)}, keys)


def test_the_space_is_fitted_to_all_but_the_held_out_items(tmp_path):
    shards = [random_shard(20, 6, 0), random_shard(30, 6, 1)]
    space = fit_space(store(tmp_path / "labels", shards, 6), tmp_path / "run", seed=4)
    every = np.concatenate([shard.vectors["plain"] for shard in shards])
    expected = fit_base_space([{"plain": np.delete(every, np.s_[9::10], axis=0)}], seed=4)
    one, other = (found.project({"plain": every}) for found in (space, expected))
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-5)


def test_a_space_that_is_there_stays(tmp_path):
    labels = store(tmp_path / "labels", [random_shard(20, 6, 0)], 6)
    fit_space(labels, tmp_path / "run", seed=4)
    path = tmp_path / "run" / "base_space.safetensors"
    before = path.read_bytes()
    fit_space(labels, tmp_path / "run", seed=5)
    assert path.read_bytes() == before
    assert [left.name for left in path.parent.iterdir()] == ["base_space.safetensors"]
