from dataclasses import replace

import numpy as np
import pytest

from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_store import read_description, read_shards
from unbraid.distill.labels.member_labels import readable_items
from unbraid.distill.labels.write_labels import label
from unbraid.distill.space.fit_members import (
    fit_member_space,
    joined_labels,
    kept_energy,
    open_members,
    write_joined,
)
from unbraid.errors import DataError
from unbraid.teacher.members.member_spec import E5, MEMBERS, MPNET, stored_routes
from unbraid.teacher.members.members_teacher import MembersTeacher, Translated
from unbraid.vectors import normalize

SPECS = (replace(E5, dim=6), replace(MPNET, dim=5))
RNG = np.random.default_rng(0)
TURN = RNG.standard_normal((6, 5))
WORDS = [f"word {number}" for number in range(40)]
ITEMS = [
    *(TrainingItem(word, "text") for word in WORDS),
    *(TrainingItem(f"{word}()", "code", anchor=word) for word in WORDS[:6]),
    *(
        TrainingItem(f"Wort {number}", "text", language="de", english=word)
        for number, word in enumerate(WORDS[:8])
    ),
    TrainingItem("mot seul", "text", language="fr"),
]


class FakeMember:
    """A cone of e5-like vectors; the second member's are a turned copy of the first's, so it can be predicted."""

    modalities = ("text", "code")

    def __init__(self, spec):
        self.spec, self.dim, self.id = spec, spec.dim, f"{spec.name}-1"
        self.routes = {task: route.name for task, route in spec.routes.items()}
        self.about = {"member": spec.name}

    def encode(self, items, task):
        own = np.stack([np.random.default_rng(sum(map(ord, str(item)))).standard_normal(6) for item in items])
        if self.spec.english:
            return normalize(own @ TURN)
        return normalize(own + 3 + (0.5 if self.routes[task] == "passage" else 0))


def store(folder, spec, items=ITEMS):
    label(
        readable_items(spec, items),
        folder / spec.name,
        FakeMember(spec),
        tasks=list(stored_routes(spec.routes).values()),
    )


@pytest.fixture(scope="module", autouse=True)
def small_members():
    with pytest.MonkeyPatch.context() as patch:
        for spec in SPECS:
            patch.setitem(MEMBERS, spec.name, spec)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for spec in SPECS:
        store(folder, spec)
    return folder


@pytest.fixture(scope="module")
def members(folder):
    return open_members([folder / spec.name for spec in SPECS])


@pytest.fixture(scope="module")
def space(members):
    return fit_member_space(members, ITEMS)


def test_a_member_that_knows_english_alone_labels_english_sides(folder):
    texts = {text for shard in read_shards(folder / "mpnet") for text in shard.texts}
    assert texts == {*WORDS, *(f"{word}()" for word in WORDS[:6])}
    assert read_description(folder / "e5")["routes"] == ["passage", "query"]


def test_means_are_those_of_each_items_vector_by_route(members, space):
    given = np.concatenate([FakeMember(SPECS[0]).encode([item.text], "document") for item in ITEMS])
    assert space.members[0].means["passage"] == pytest.approx(given.mean(0), abs=1e-3)


def test_the_projection_has_orthonormal_rows_and_keeps_everything_of_few_dimensions(members, space):
    assert space.projection @ space.projection.T == pytest.approx(np.eye(11), abs=1e-5)
    assert kept_energy(members, ITEMS, space) == pytest.approx(1, abs=1e-5)


def test_stored_and_live_vectors_are_the_same(members, space):
    live = MembersTeacher([(spec, FakeMember(spec)) for spec in SPECS], space, is_english=lambda text: True)
    labels = next(joined_labels(members, ITEMS, space))
    given = [Translated(item.text, item.english) if item.language != "en" else item.text for item in ITEMS]
    texts = [row for row, item in enumerate(ITEMS) if item.modality == "text"]
    for task in ("query", "document"):
        found = live.encode([given[row] for row in texts], task)
        assert (found * labels.vectors[task][texts]).sum(1) == pytest.approx(np.ones(len(texts)), abs=2e-3)


def test_an_absent_block_is_predicted_from_the_members_that_are_there(members, space):
    vectors, present, routes = members.block(ITEMS[-1:], "query", "text")
    assert present["mpnet"].tolist() == [False]
    joined = space.joined(vectors, routes, present)
    true = space.joined(
        vectors | {"mpnet": FakeMember(SPECS[1]).encode(["mot seul"], "query")},
        routes,
        {"mpnet": np.ones(1, bool)},
    )
    assert float((joined * true).sum()) > 0.75
    assert np.linalg.norm(joined) == pytest.approx(1, abs=1e-5)


def test_joined_labels_are_a_store_that_training_reads(members, space, tmp_path):
    assert write_joined(members, ITEMS[:30], space, tmp_path) == 30
    assert write_joined(members, ITEMS, space, tmp_path) == len(ITEMS) - 30
    table = read_description(tmp_path)
    assert table["teacher"] == f"members-{space.id}" and table["items"] == len(ITEMS)
    assert table["tasks"] == {"query": "query", "document": "document", "symmetric": "query", "code": "code"}
    rows = [text for shard in read_shards(tmp_path) for text in shard.texts]
    assert rows == [item.text for item in ITEMS]


def test_labels_of_another_weight_are_refused(members, space, tmp_path):
    write_joined(members, ITEMS[:5], space, tmp_path)
    other = fit_member_space(members, ITEMS, weights={"mpnet": 0.25})
    with pytest.raises(DataError, match="its weights"):
        write_joined(members, ITEMS, other, tmp_path)


def test_an_item_that_a_member_has_not_labelled_is_named(members, space):
    new = TrainingItem("new text", "text")
    assert members.covers(ITEMS[0]) and members.covers(ITEMS[-1]) and not members.covers(new)
    with pytest.raises(DataError, match="1 of 2 items have no label, the first the text 'new text'"):
        next(joined_labels(members, [ITEMS[0], new], space))


def test_a_store_that_does_not_fit_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no labels here"):
        open_members([tmp_path])
    with pytest.raises(DataError, match="holds labels of e5 too"):
        open_members([folder / "e5", folder / "e5"])
    monkeypatch.setitem(MEMBERS, "e5", E5)
    with pytest.raises(DataError, match="vectors have 6 dimensions, e5 has 384"):
        open_members([folder / "e5"])
    # Not by deleting from MEMBERS itself: it would come back as the last one, and its order is that of the blocks.
    others = {name: spec for name, spec in MEMBERS.items() if name != "e5"}
    monkeypatch.setattr("unbraid.distill.labels.member_labels.MEMBERS", others)
    with pytest.raises(DataError, match="labels of e5-1, expected those of a member: mpnet"):
        open_members([folder / "e5"])


def test_a_store_without_a_route_is_refused(tmp_path):
    label(readable_items(SPECS[0], ITEMS), tmp_path / "e5", FakeMember(SPECS[0]), tasks=["query"])
    with pytest.raises(DataError, match="lacks the route passage"):
        open_members([tmp_path / "e5"])


def test_an_unknown_weight_is_refused(members):
    with pytest.raises(DataError, match="weight of gtr: expected one of e5, mpnet"):
        fit_member_space(members, ITEMS, weights={"gtr": 1})
