import json

import numpy as np
import pytest

import unbraid
from unbraid.errors import StoreError
from unbraid.runtime import picks
from unbraid.runtime.doctor import Speed, fastest


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home folder of its own, for what is saved."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def speeds(**rates):
    return [Speed("text", precision, {"short": one[0], "long": one[1]}) for precision, one in rates.items()]


def test_int8_is_picked_where_it_is_faster_on_every_kind_of_item():
    assert fastest(speeds(int8=(20, 2.1), fp32=(10, 2)), "text") == "int8"


@pytest.mark.parametrize("int8", [(20, 1.9), (9, 3), (10, 2)])
def test_int8_is_not_picked_where_it_is_slower_on_any(int8):
    assert fastest(speeds(int8=int8, fp32=(10, 2)), "text") == "fp32"


def test_a_graph_in_one_precision_has_no_choice():
    assert fastest(speeds(int8=(1, 1)), "text") == "int8"


def test_what_was_saved_decides_what_is_loaded_and_only_for_that_bundle(bundle_folder, embedder):
    picks.save_picks(embedder.bundle.id, {"text": "fp32"})
    picks.save_picks("another", {"text": "int8"})
    exact = unbraid.load(bundle_folder, precision="fp32").encode(["cat"])
    np.testing.assert_array_equal(unbraid.load(bundle_folder).encode(["cat"]), exact)
    assert not np.array_equal(unbraid.load(bundle_folder, precision="int8").encode(["cat"]), exact)


def test_each_tier_and_modality_keeps_its_own_pick(bundle_folder, embedder):
    picks.save_picks(embedder.bundle.id, {"text": "int8"})
    picks.save_picks(embedder.bundle.id, {"nano text": "fp32"})
    assert picks.saved_picks(embedder.bundle.id) == {"text": "int8", "nano text": "fp32"}
    nano = [unbraid.load(bundle_folder, tier="nano", precision=one).encode(["cat"]) for one in (None, "fp32")]
    np.testing.assert_array_equal(*nano)


def test_another_processor_does_not_use_the_pick(embedder, monkeypatch):
    picks.save_picks(embedder.bundle.id, {"text": "fp32"})
    monkeypatch.setattr(picks, "processor", lambda: "another")
    assert picks.saved_picks(embedder.bundle.id) == {}


@pytest.mark.parametrize(
    "content", ["", "[]", "[[" * 5000, "\udcff", '{"KEY": 3}', '{"KEY": {"text": "fp16"}}']
)
def test_a_file_that_says_nothing_useful_counts_as_none(embedder, bundle_folder, content):
    path = picks.picks_file()
    path.parent.mkdir(parents=True)
    key = f"{embedder.bundle.id} on {picks.processor()}"
    path.write_bytes(content.replace("KEY", key).encode("utf-8", "surrogateescape"))
    assert picks.saved_picks(embedder.bundle.id) == {}
    assert unbraid.load(bundle_folder).encode(["cat"]).shape == (1, 512)


def test_a_home_that_cannot_be_written_is_an_error_that_names_the_file(embedder, home):
    (home / ".cache").write_text("in the way")
    with pytest.raises(StoreError, match=r"precisions\.json: cannot be written"):
        picks.save_picks(embedder.bundle.id, {})


def test_doctor_saves_what_it_found(home, bundle_folder, embedder, capsys, monkeypatch):
    from unbraid.cli import main as cli

    monkeypatch.setattr("sys.argv", ["unbraid", "doctor", "--model", str(bundle_folder), "--save", "--json"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 0
    best = json.loads(capsys.readouterr().out)["fastest"]
    saved = picks.saved_picks(embedder.bundle.id)
    assert saved == {name: best[name] for name in ("text", "image")}
