"""Search modes that an adopted bundle gets from pairs and from a folder without labels."""

import json

import numpy as np
import pytest

import unbraid
from unbraid.adopt import adopt
from unbraid.adopt.own_modes import fit_own_modes
from unbraid.custom_mapper.mapper_file import CustomMapper
from unbraid.errors import DataError

WORDS = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]
NOISE = [f"{a}{b}" for a in "klmnp" for b in "aeiou"]
PLACES = "cat dog house car tree river stone file write read value of".split()
TEXT = "It is of the {} that we read and write in the value of this long text, which goes on for a while: {}."


@pytest.fixture
def notes(tmp_path):
    """A folder of twelve files with three sections each."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(12):
        parts = [
            f"# the {PLACES[number]} {kind} {number}x\n" + TEXT.format(kind, f"{PLACES[number]} {number}")
            for kind in ("return", "list", "text")
        ]
        (folder / f"{number}.md").write_text("\n\n".join(parts))
    return folder


def modes(monkeypatch, strength):
    """Fitting gives a matrix of its own, of this strength."""

    def fit(model, pairs, name, *, progress):
        about = {"strength": strength, "pairs": len(pairs), "metric": "nDCG@10", "start": "retrieval"}
        about |= {"before": 0.5, "after": 0.6, "standard_error": 0.01}
        matrix = np.eye(model.dim, dtype=np.float32)[::-1]
        document = None if name == "pairs" else np.eye(model.dim, dtype=np.float32)
        return CustomMapper(name, model.base_id, np.ascontiguousarray(matrix), document, about)

    monkeypatch.setattr("unbraid.adopt.own_modes.fit_mapper", fit)


def test_modes_that_help_are_in_the_bundle_with_its_base_id_unchanged(
    published, notes, tmp_path, monkeypatch
):
    modes(monkeypatch, 0.5)
    rows = [{"query": f"the {n}", "positive": f"a {n} of stone"} for n in range(30)]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = adopt(published, tmp_path / "bundle", pairs=pairs, folder_of_texts=notes)
    model = unbraid.load(tmp_path / "bundle")
    assert model.search_modes["pairs"] == ("pairs", "pairs")
    assert model.search_modes["folder"] == ("folder-query", "folder-document")
    base = model.encode(["the cat"])
    np.testing.assert_allclose(model.map(base, "pairs"), base[:, ::-1], atol=1e-3)
    np.testing.assert_allclose(model.map(base, "folder-document"), base, atol=1e-3)
    assert made.notes[-1] == (
        "mode folder, fitted on 36 pairs: nDCG@10 0.500 -> 0.600 on held-out ones (standard error of the gain 0.010)"
    )
    assert "mode pairs, fitted on 30 pairs" in (tmp_path / "bundle" / "README.md").read_text()


def test_a_mode_that_does_not_help_is_not_in_the_bundle(published, notes, tmp_path, monkeypatch):
    modes(monkeypatch, 0.0)
    made = adopt(published, tmp_path / "bundle", folder_of_texts=notes)
    assert set(unbraid.load(tmp_path / "bundle").search_modes) == {"retrieval", "symmetric", "code"}
    assert made.notes[-1].startswith("no mode folder: fitting on 36 pairs gained nothing sure")


def test_the_real_fit_runs_on_a_bundle(published, notes, bundle_folder):
    from unbraid.adopt.own_modes import read_sources

    sources = read_sources({"folder": notes, "pairs": None}, ("text",))
    about = unbraid.fit_mapper(unbraid.load(bundle_folder), sources["folder"], "folder").about
    found = fit_own_modes(bundle_folder, sources)
    assert (about["strength"], found.mappers) == (0, [])
    (note,) = found.notes
    assert note == (
        "no mode folder: fitting on 36 pairs gained nothing sure on held-out ones over identity "
        f"(nDCG@10 {about['before']:.3f})"
    )


def test_the_real_fit_learns_which_words_count(bundle_folder, tmp_path):
    from unbraid.adopt.own_modes import read_sources

    random = np.random.default_rng(0)
    rows = []
    for _ in range(200):
        one, other, *noise = random.choice(len(WORDS), 4)
        rows.append(
            {
                "query": f"{WORDS[one]} {WORDS[other]} {NOISE[noise[0]]} {NOISE[noise[0]]}",
                "positive": f"{WORDS[one]} {WORDS[other]} {NOISE[noise[1]]} {NOISE[noise[1]]}",
            }
        )
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = fit_own_modes(bundle_folder, read_sources({"pairs": tmp_path / "pairs.jsonl"}, ("text",)))
    (mapper,) = found.mappers
    assert mapper.about["after"] > mapper.about["before"] + 0.1


def test_too_few_pairs_are_refused_before_anything_is_written(published, tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "a.md").write_text("# the cat\n" + TEXT)
    with pytest.raises(DataError, match=r"1 pairs .* were found in 1 files.* needs 10 files"):
        adopt(published, tmp_path / "bundle", folder_of_texts=tmp_path / "few")
    assert not (tmp_path / "bundle").exists()
