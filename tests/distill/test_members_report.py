from dataclasses import replace

import pytest

from unbraid.distill.data.dev_sets import DevSet
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.member_labels import readable_items
from unbraid.distill.labels.write_labels import label
from unbraid.distill.space.fit_members import fit_member_space, open_members
from unbraid.distill.space.members_report import group_means, score_table
from unbraid.teacher.members.member_spec import E5, MEMBERS, MPNET, stored_routes

SPECS = (replace(E5, dim=8), replace(MPNET, dim=6))
QUERIES = [TrainingItem(f"about {letter}", "text") for letter in "abcdefgh"]
DOCUMENTS = [TrainingItem(f"{letter} {letter}", "text") for letter in "abcdefgh"]
FOREIGN = [TrainingItem(f"sur {letter}", "text", language="fr") for letter in "abcdefgh"]


@pytest.fixture(scope="module")
def members(tmp_path_factory, fake_member):
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        for spec in SPECS:
            patch.setitem(MEMBERS, spec.name, spec)
            tasks = list(stored_routes(spec.routes).values())
            items = readable_items(spec, [*QUERIES, *DOCUMENTS, *FOREIGN])
            label(items, folder / spec.name, fake_member(spec), tasks=tasks)
        yield open_members([folder / spec.name for spec in SPECS])


def sets():
    relevant = [{row} for row in range(8)]
    return [
        DevSet("english", "retrieval", "en", QUERIES, DOCUMENTS, relevant),
        DevSet("french", "retrieval", "fr", FOREIGN, DOCUMENTS, relevant),
        DevSet("not labelled", "retrieval", "en", [TrainingItem("z", "text")], DOCUMENTS, [{0}]),
    ]


def test_every_system_has_a_score_and_sets_without_labels_are_left_out(members):
    space = fit_member_space(members, [*QUERIES, *DOCUMENTS])
    english, french = score_table(sets(), members, space)
    assert english["e5"] == english["mpnet"] == english["joined 512"] == 1.0
    assert {"joined 384", "joined 256", "joined 128"} < set(english)
    assert "mpnet" not in french and french["joined 512"] > 0.9


def test_means_are_taken_over_sets_of_one_kind_and_language():
    rows = [
        {"set": "a", "group": "code", "e5": 0.4, "mpnet": 0.2},
        {"set": "b", "group": "code", "e5": 0.6},
        {"set": "c", "group": "retrieval", "e5": 0.1},
    ]
    assert group_means(rows) == [
        {"mean of": "code", "sets": 2, "e5": 0.5},
        {"mean of": "retrieval", "sets": 1, "e5": 0.1},
    ]
