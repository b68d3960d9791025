import json
from dataclasses import replace

import numpy as np
import pytest

from unbraid.distill import member_report
from unbraid.distill.fit_member_space import fit_member_space, open_members
from unbraid.distill.label import label
from unbraid.distill.label_members import items_for
from unbraid.distill.member_dev_sets import DevSet
from unbraid.distill.member_items import MemberItem
from unbraid.teacher.member_spec import E5, MPNET, stored_routes
from unbraid.vectors import normalise

SPECS = (replace(E5, dim=8), replace(MPNET, dim=6))
QUERIES = [MemberItem(f"about {letter}", "text") for letter in "abcdefgh"]
DOCUMENTS = [MemberItem(f"{letter} {letter}", "text") for letter in "abcdefgh"]
FOREIGN = [MemberItem(f"sur {letter}", "text", "fr") for letter in "abcdefgh"]


class FakeMember:
    """Vectors of the last letter, the same for a query and its document, with a cone around them."""

    modalities = ("text", "code")

    def __init__(self, spec):
        self.spec, self.dim, self.id, self.about = spec, spec.dim, f"{spec.name}-1", {}
        self.routes = {task: route.name for task, route in spec.routes.items()}

    def encode(self, items, task):
        found = [np.random.default_rng(ord(str(item)[-1])).standard_normal(self.dim) for item in items]
        return normalise(np.stack(found) + 1)


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for spec in SPECS:
        tasks = list(stored_routes(spec.routes).values())
        items = items_for(spec, [*QUERIES, *DOCUMENTS, *FOREIGN])
        label(items, folder / spec.name, FakeMember(spec), tasks=tasks)
    return open_members(SPECS, folder)


def sets():
    relevant = [{row} for row in range(8)]
    return [
        DevSet("english", "retrieval", "en", QUERIES, DOCUMENTS, relevant),
        DevSet("french", "retrieval", "fr", FOREIGN, DOCUMENTS, relevant),
        DevSet("not labelled", "retrieval", "en", [MemberItem("z", "text")], DOCUMENTS, [{0}]),
    ]


def test_every_system_has_a_score_and_sets_without_labels_are_left_out(members):
    space = fit_member_space(members, [*QUERIES, *DOCUMENTS])
    english, french = member_report.table(sets(), members, {"joined": space})
    assert english["e5"] == english["mpnet"] == english["joined 512"] == 1.0
    assert {"joined 384", "joined 256", "joined 128"} < set(english)
    assert "mpnet" not in french and french["joined 512"] > 0.9


def test_the_report_fits_prints_and_writes_the_space(members, tmp_path, capsys, monkeypatch):
    from unbraid.distill.member_items import write_items
    from unbraid.teacher.member_space import load_member_space

    write_items(tmp_path / "items.jsonl.gz", [*QUERIES, *DOCUMENTS])
    monkeypatch.setattr(member_report, "member_spec", lambda name: {spec.name: spec for spec in SPECS}[name])
    monkeypatch.setattr(member_report, "dev_sets", lambda *_, **__: sets())
    stores = next(iter(members.stores.values())).folder.parent
    arguments = [
        tmp_path / "items.jsonl.gz",
        stores,
        stores,
        tmp_path,
        "--members",
        "e5,mpnet",
        "--upto",
        "16",
    ]
    member_report.main([str(one) for one in (*arguments, "--space", tmp_path / "space.safetensors")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["items"] == 16 and [line["set"] for line in lines[1:3]] == ["english", "french"]
    assert [line["mean of"] for line in lines[3:]] == ["retrieval", "retrieval, other language to English"]
    assert lines[3]["joined 512"] == lines[1]["joined 512"]
    assert load_member_space(tmp_path / "space.safetensors").id == lines[0]["space"]
