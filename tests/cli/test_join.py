"""`unbraid train items` and `unbraid train join`, from rows to a joined teacher."""

import gzip
import json
from dataclasses import replace

import pytest

from unbraid.distill.data import dev_sets, item_sources, member_items
from unbraid.distill.labels.label_store import read_description
from unbraid.distill.labels.member_labels import readable_items
from unbraid.distill.labels.write_labels import label
from unbraid.teacher.members.member_space import load_member_space
from unbraid.teacher.members.member_spec import E5, MEMBERS, MPNET, stored_routes
from unbraid.teacher.members.members_teacher import SPACE

SPECS = (replace(E5, dim=8), replace(MPNET, dim=6))
SOURCES = (
    item_sources.ItemSource("pairs", "MIT", "english", ("anchor", "positive")),
    item_sources.ItemSource("german", "MIT", "foreign", ("positive",), language="de", english="anchor"),
)
HELD_OUT = (item_sources.HeldOut("held", "held", "retrieval"),)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder of two sources and a dev set; only these are known."""
    rows = {
        "pairs": [
            {"anchor": f"ask {n}{letter}", "positive": f"say {n}{letter}"}
            for n in range(2)
            for letter in "abcdefghij"
        ],
        "german": [{"anchor": f"cat {letter}", "positive": f"Katze {letter}"} for letter in "abcdefghij"],
        "held": [
            {"anchor": f"about {n} {chr(0x4E00 + n)}", "positive": f"it {chr(0x4E00 + n)}"} for n in range(40)
        ],
    }
    folder = tmp_path / "data"
    folder.mkdir()
    for name, found in rows.items():
        lines = "".join(json.dumps(row) + "\n" for row in found)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for module in (item_sources, dev_sets, member_items):
        monkeypatch.setattr(module, "HELD_OUT", HELD_OUT)
    monkeypatch.setattr(member_items, "SOURCES", SOURCES)
    monkeypatch.setattr(member_items, "with_english_sides", lambda items, folder: items)
    for spec in SPECS:
        monkeypatch.setitem(MEMBERS, spec.name, spec)
    return folder


def write_labels(path, folder, fake_member):
    from unbraid.distill.data.training_items import file_items

    for spec in SPECS:
        tasks = list(stored_routes(spec.routes).values())
        label(readable_items(spec, file_items(path)), folder / spec.name, fake_member(spec), tasks=tasks)
    return [folder / spec.name for spec in SPECS]


def test_items_are_written_labelled_joined_and_scored(command, data, tmp_path, fake_member):
    items, dev = tmp_path / "items.jsonl.gz", tmp_path / "dev.jsonl.gz"
    assert command("train", "items", data, "--out", items).out.startswith("5")
    assert command("train", "items", data, "--out", dev, "--dev").out.startswith("80 items in ")
    stores, dev_stores = (
        write_labels(items, tmp_path / "labels", fake_member),
        write_labels(dev, tmp_path / "dev", fake_member),
    )
    asked = [
        "train",
        "join",
        *stores,
        "--items",
        items,
        "--out",
        tmp_path / "joined",
        "--labels",
        tmp_path / "all",
    ]
    asked += ["--weight", "mpnet=0.5", "--dev", data]
    done = command(*asked, *(word for store in dev_stores for word in ("--dev-labels", store)))
    assert done.code == 0, done.err
    first, labelled, row, mean = map(json.loads, done.out.splitlines())
    space = load_member_space(tmp_path / "joined" / SPACE)
    assert first["teacher"] == f"members-{space.id}" and [one.weight for one in space.members] == [1.0, 0.5]
    assert (
        labelled["new"] == first["items"]
        and read_description(tmp_path / "all")["teacher"] == first["teacher"]
    )
    assert (row["set"], row["e5"], row["joined 512"]) == ("held", 1.0, 1.0)
    assert mean["mean of"] == "retrieval" and mean["joined 512"] == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--weight", "mpnet"), "'mpnet': expected NAME=NUMBER"),
        (("--weight", "mpnet=-1"), "expected NAME=NUMBER with a positive number"),
        (("--dev", "x"), "--dev goes with --dev-labels"),
    ],
)
def test_wrong_use_of_join_is_one_clear_line(command, tmp_path, words, said):
    folder = ("--items", tmp_path / "i.jsonl", "--out", tmp_path / "joined")
    result = command("train", "join", tmp_path, *folder, *words)
    assert result.code == 2 and said in result.err
