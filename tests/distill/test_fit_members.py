from dataclasses import replace

import numpy as np
import pytest

from unbraid.distill.fit_member_space import (
    fit_member_space,
    joined_labels,
    kept_energy,
    open_members,
    present_blocks,
    write_joined,
)
from unbraid.distill.label import label
from unbraid.distill.label_members import items_for, label_prefixes
from unbraid.distill.member_items import MemberItem, write_items
from unbraid.errors import DataError
from unbraid.teacher.labels import read_description, read_shards
from unbraid.teacher.member_spec import E5, MPNET, stored_routes
from unbraid.teacher.members import MembersTeacher
from unbraid.teacher.translated import Translated
from unbraid.vectors import normalise

SPECS = (replace(E5, dim=6), replace(MPNET, dim=5))
RNG = np.random.default_rng(0)
TURN = RNG.standard_normal((6, 5))
WORDS = [f"word {number}" for number in range(40)]
ITEMS = [
    *(MemberItem(word, "text") for word in WORDS),
    *(MemberItem(f"{word}()", "code", anchor=word) for word in WORDS[:6]),
    *(MemberItem(f"Wort {number}", "text", "de", word) for number, word in enumerate(WORDS[:8])),
    MemberItem("mot seul", "text", "fr"),
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
            return normalise(own @ TURN)
        return normalise(own + 3 + (0.5 if self.routes[task] == "passage" else 0))


def store(folder, spec, items=ITEMS):
    label(
        items_for(spec, items),
        folder / spec.name,
        FakeMember(spec),
        tasks=list(stored_routes(spec.routes).values()),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for spec in SPECS:
        store(folder, spec)
    return folder


@pytest.fixture(scope="module")
def members(folder):
    return open_members(SPECS, folder)


@pytest.fixture(scope="module")
def space(members):
    return fit_member_space(members, ITEMS)


def test_a_member_that_knows_english_alone_labels_english_sides(folder):
    texts = {text for shard in read_shards(folder / "mpnet") for text in shard.texts}
    assert texts == {*WORDS, *(f"{word}()" for word in WORDS[:6])}
    assert read_description(folder / "e5")["routes"] == ["passage", "query"]


def test_means_are_those_of_each_items_vector_by_route(members, space):
    given = np.concatenate([FakeMember(SPECS[0]).encode([item.text], "document") for item in ITEMS])
    assert space.member("e5").means["passage"] == pytest.approx(given.mean(0), abs=1e-3)


def test_the_projection_has_orthonormal_rows_and_keeps_everything_of_few_dimensions(members, space):
    assert space.projection @ space.projection.T == pytest.approx(np.eye(11), abs=1e-5)
    assert kept_energy(members, ITEMS, space) == pytest.approx(1, abs=1e-5)


def test_stored_and_live_vectors_are_the_same(members, space):
    live = MembersTeacher([(spec, FakeMember(spec)) for spec in SPECS], space)
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


def test_present_blocks_say_which_are_the_members_own(members):
    assert present_blocks(members, ITEMS)[[0, 47, -1]].tolist() == [[True, True], [True, True], [True, False]]


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
    new = MemberItem("new text", "text")
    assert members.covers(ITEMS[0]) and members.covers(ITEMS[-1]) and not members.covers(new)
    with pytest.raises(DataError, match="1 of 2 items have no label, the first the text 'new text'"):
        next(joined_labels(members, [ITEMS[0], new], space))


def test_a_missing_store_and_one_of_another_dimension_are_refused(folder, tmp_path):
    store(tmp_path, SPECS[0])
    with pytest.raises(DataError, match=r"mpnet: no labels here"):
        open_members(SPECS, tmp_path)
    with pytest.raises(DataError, match="vectors have 6 dimensions, e5 has 384"):
        open_members([E5], folder)


def test_a_store_without_a_route_is_refused(tmp_path):
    label(items_for(SPECS[0], ITEMS), tmp_path / "e5", FakeMember(SPECS[0]), tasks=["query"])
    with pytest.raises(DataError, match="lacks the route passage"):
        open_members(SPECS[:1], tmp_path)


def test_an_unknown_weight_is_refused(members):
    with pytest.raises(DataError, match="weight of gtr: expected one of e5, mpnet"):
        fit_member_space(members, ITEMS, weights={"gtr": 1})


def test_prefixes_are_labelled_by_all_members_in_turn_and_resume(tmp_path):
    write_items(tmp_path / "items.jsonl.gz", ITEMS)
    teachers = [(spec, FakeMember(spec)) for spec in SPECS]
    first = list(label_prefixes(tmp_path / "items.jsonl.gz", tmp_path, teachers, upto=40, step=20))
    assert [(row["member"], row["prefix"], row["labelled"]) for row in first] == [
        *(("e5", 20, 20), ("mpnet", 20, 20)),
        *(("e5", 40, 20), ("mpnet", 40, 20)),
    ]
    rest = list(label_prefixes(tmp_path / "items.jsonl.gz", tmp_path, teachers, upto=99, step=40))
    assert [(row["prefix"], row["labelled"]) for row in rest] == [(40, 0), (40, 0), (55, 15), (55, 6)]
