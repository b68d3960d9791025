"""The ceiling of label stores whose answer is known."""

import json
from typing import ClassVar

import numpy as np
import pytest

from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.space import ceiling as module
from unbraid.distill.space.base_space import fit_base_space, stack
from unbraid.distill.space.ceiling import DIMS, dataset_rows, fit_read_outs, route_ceilings
from unbraid.distill.space.ceiling_report import Report, write_ceiling
from unbraid.distill.space.fit_space import fit_space, split
from unbraid.errors import DataError
from unbraid.evaluation import Retrieval, Sts, evaluate_teacher
from unbraid.items import Code
from unbraid.tasks import SEARCH_MODES
from unbraid.training.torchvision_shim import ensure_torchvision
from unbraid.vectors import normalize

ensure_torchvision()


def labelled(vectors):
    n = len(next(iter(vectors.values())))
    keys = [f"item {row}" for row in range(n)]
    return Labels(keys, ["text"] * n, [""] * n, vectors, keys)


def measured(vectors, seed=0):
    """Ceilings by route of a store with `vectors`."""
    shard = labelled(vectors)
    space = fit_base_space([next(split([shard]))[0]], seed=seed)
    read_outs, held = fit_read_outs([shard], space)
    return {one.route: one for one in route_ceilings(read_outs, held)}


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


# -- routes --------------------------------------------------------------------------------------------------------


def test_a_stack_of_64_dimensions_loses_nothing_at_any_prefix(rng):
    vectors = {route: normalize(rng.standard_normal((700, 32))) for route in "ab"}
    for one in measured(vectors).values():
        assert one.items == 70
        for dim in DIMS:
            assert one.energy[dim] == pytest.approx(1, abs=1e-5)
            assert one.cosine[dim] == pytest.approx(1, abs=1e-3)
            assert one.top10[dim] == pytest.approx(1, abs=0.01)


def test_a_turned_route_costs_no_dimensions_and_the_base_alone_finds_its_neighbours(rng):
    """Both routes hold the same 60 directions, so that all cosines agree: mappers would have nothing to add."""
    own = normalize(rng.standard_normal((600, 60)))
    turn, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    for one in measured({"plain": own, "turned": own @ turn}).values():
        assert one.cosine[64] == pytest.approx(1, abs=1e-3)
        assert one.base_top10 == pytest.approx(1, abs=0.01)


def test_where_routes_differ_the_base_alone_finds_fewer_neighbours_than_its_read_out(rng):
    for one in measured({route: normalize(rng.standard_normal((900, 30))) for route in "ab"}).values():
        assert one.top10[64] > 0.98
        assert one.base_top10 < 0.8


def test_energy_kept_is_the_share_that_the_projections_rows_hold(rng):
    falling = 1 / np.arange(1, 401) ** 0.5
    vectors = {route: normalize(rng.standard_normal((3000, 400)) * falling) for route in "ab"}
    fitted, held = next(split([labelled(vectors)]))
    space = fit_base_space([fitted], seed=0)
    found = measured(vectors)
    for dim in DIMS:
        stacked = stack(held, space.routes)
        whole = ((stacked @ space.projection[:dim].T) ** 2).sum() / (stacked**2).sum()
        assert np.mean([one.energy[dim] for one in found.values()]) == pytest.approx(whole, abs=1e-5)
    kept = found["a"].energy
    assert 0.4 < kept[64] < kept[128] < kept[256] < kept[512] < 1


def test_prefixes_hold_less_and_read_outs_point_less_well(rng):
    """Two routes of 300 unrelated dimensions: at 64 a fifth of the dimensions is left."""
    found = measured({route: normalize(rng.standard_normal((6000, 300))) for route in "ab"})["a"]
    assert found.cosine[64] < found.cosine[128] < found.cosine[256] < found.cosine[512]
    assert found.top10[64] < found.top10[512]
    assert found.energy[64] == pytest.approx(64 / 600, abs=0.03)
    assert found.cosine[64] == pytest.approx((64 / 600) ** 0.5, abs=0.03)


def test_dimensions_beyond_512_of_a_teacher_play_no_part(rng):
    own = normalize(rng.standard_normal((300, 600)))
    other = own.copy()
    other[:, 512:] = 0
    one, same = (measured({"plain": vectors})["plain"] for vectors in (own, other))
    assert one.cosine == pytest.approx(same.cosine, abs=1e-5)


def test_the_ten_nearest_others_are_compared():
    angles = np.deg2rad(np.arange(0, 60, 5.0))  # twelve, so that ten of the eleven others are near
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    near = module._nearest(vectors)
    assert near.shape == (12, 10)
    assert sorted(near[0]) == list(range(1, 11))  # but not the farthest
    assert sorted(near[11]) == list(range(1, 11))
    assert module._shared(near, near) == 1
    assert module._shared(np.array([[1, 2], [0, 2]]), np.array([[2, 3], [2, 0]])) == 0.75


def test_fewer_than_twenty_items_are_refused(rng):
    with pytest.raises(DataError, match="at least 20"):
        measured({"plain": normalize(rng.standard_normal((19, 4)))})


def test_read_outs_are_fitted_to_no_held_out_item(rng):
    vectors = normalize(rng.standard_normal((400, 40)))
    other = vectors.copy()
    other[9::10] = vectors[9::10][::-1]
    space = fit_base_space([{"plain": vectors}], seed=0)
    one, same = (fit_read_outs([labelled({"plain": found})], space)[0] for found in (vectors, other))
    assert all(np.array_equal(one.weights[key], same.weights[key]) for key in one.weights)


# -- data sets -----------------------------------------------------------------------------------------------------


class FakeTeacher:
    """Three routes, each a table of random vectors by word; of 40 dimensions or as many as asked."""

    routes: ClassVar = {"query": "q", "document": "d", "symmetric": "s", "code": "s"}
    id, about, modalities = "fake", {}, ("text", "code")

    def __init__(self, dim=20):
        self.dim = dim
        self.calls = []

    def encode(self, items, task):
        self.calls += [(task, item) for item in items]
        rows = []
        for item in items:
            words = np.random.default_rng(sum(map(ord, str(item)))).standard_normal(self.dim)
            own = np.random.default_rng([ord(self.routes[task][0]), *map(ord, str(item))])
            rows.append(words + own.standard_normal(self.dim))
        return normalize(np.array(rows)).astype(np.float32)


RETRIEVAL = Retrieval(
    "sky",
    {f"q{n}": f"ask {n}" for n in range(12)},
    {f"d{n}": f"tell {n}" for n in range(40)},
    {f"q{n}": {f"d{n}": 1} for n in range(12)},
)
GRADED = Sts("pairs", [f"ask {n}" for n in range(12)], [f"tell {n}" for n in range(12)], list(range(12)))


def read_outs_of(teacher, n=600):
    texts = [f"label {row}" for row in range(n)]
    task_of = {route: task for task, route in teacher.routes.items()}
    shard = labelled({route: teacher.encode(texts, task) for route, task in task_of.items()})
    return fit_read_outs([shard], fit_base_space([next(split([shard]))[0]], seed=0))[0]


@pytest.mark.parametrize("dataset", [RETRIEVAL, GRADED], ids=["retrieval", "sts"])
def test_a_set_has_the_teachers_own_score_and_read_outs_that_lose_nothing_keep_it(dataset):
    teacher = FakeTeacher()
    rows = dataset_rows(dataset, teacher, read_outs_of(teacher))
    assert [row.system for row in rows] == [
        "teacher, 20 dims",
        "base alone, 512 dims",
        *(f"base + read-out, {dim} dims" for dim in DIMS),
    ]
    mode = "symmetric" if dataset is GRADED else "retrieval"
    assert [row.mode for row in rows] == [mode, None, *[mode] * 4]
    expected = next(
        row for row in evaluate_teacher("t", teacher.encode, SEARCH_MODES, dataset)[1:] if row.mode == mode
    )
    assert rows[0].scores == expected.scores
    for row in rows[2:]:
        assert row.scores == expected.scores


def test_a_teacher_of_more_than_512_dimensions_has_a_row_for_its_prefix():
    teacher = FakeTeacher(dim=600)
    rows = dataset_rows(GRADED, teacher, read_outs_of(teacher, n=100))
    assert [row.system for row in rows[:2]] == ["teacher, 600 dims", "teacher, 512 dims"]
    assert rows[0].scores != rows[1].scores


def test_an_item_is_encoded_once_a_route_and_code_apart_from_text():
    teacher = FakeTeacher()
    read_outs = read_outs_of(teacher)
    teacher.calls.clear()
    same = Retrieval("x", {"q": "f"}, {"d": Code("f"), "e": "f"}, {"q": {"d": 1}}, mode="code")
    dataset_rows(same, teacher, read_outs)
    assert len(teacher.calls) == 2 * 3


# -- the report ----------------------------------------------------------------------------------------------------


@pytest.fixture
def labels(tmp_path):
    rng = np.random.default_rng(1)
    shard = labelled({route: normalize(rng.standard_normal((300, 24))).astype(np.float16) for route in "ab"})
    with open_labels(tmp_path / "labels", Description("fake", {}, ("a", "b"), 24)) as store:
        store.want(set(shard.keys))
        store.append(shard)
    return tmp_path / "labels"


def test_the_report_is_written_as_tables_json_and_a_picture(labels, tmp_path):
    space = fit_space(labels, tmp_path, seed=0)
    tables = write_ceiling(labels, space, tmp_path / "out")
    lines = [line for line in tables.splitlines() if line.startswith("| a ")]
    assert [line.split("|")[2].strip() for line in lines] == ["512", "256", "128", "64"]
    about = json.loads((tmp_path / "out" / "ceiling.json").read_text())
    assert about["teacher"] == "fake"
    assert about["routes"][0]["cosine"]["512"] == pytest.approx(1, abs=1e-3)
    assert (tmp_path / "out" / "ceiling.png").stat().st_size > 5000


def test_a_report_that_is_there_is_not_made_again(labels, tmp_path):
    space = fit_space(labels, tmp_path, seed=0)
    write_ceiling(labels, space, tmp_path / "out")
    before = (tmp_path / "out" / "ceiling.json").stat().st_mtime_ns
    assert "ceiling.json" in write_ceiling(labels, space, tmp_path / "out")
    assert (tmp_path / "out" / "ceiling.json").stat().st_mtime_ns == before


def test_data_sets_are_a_table_and_a_panel_of_their_own(tmp_path):
    teacher = FakeTeacher()
    rows = dataset_rows(GRADED, teacher, read_outs_of(teacher))
    report = Report("fake", 1.0, list(measured({"s": np.eye(40)}).values()), rows)
    assert "base + read-out, 64 dims" in report.tables()
    report.write(tmp_path)
    assert len(json.loads((tmp_path / "ceiling.json").read_text())["datasets"]) == len(rows)
