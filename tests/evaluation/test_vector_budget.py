"""How many vectors a document carry the score: the measure, its table and picture, and `unbraid analyse --multi-vectors`."""

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from unbraid.cli import main as cli
from unbraid.evaluation import Retrieval
from unbraid.evaluation.late_interaction import equally
from unbraid.evaluation.vector_budget import ALL, BUDGETS, UNPRUNED, measure, table, to_json
from unbraid.vectors import normalize

EYE = np.eye(6, dtype=np.float32)
DOCUMENTS = {"d1": EYE[[0, 1, 2]], "d2": EYE[[3]], "d3": EYE[:0]}
SKY = Retrieval("sky", {"q1": "", "q2": ""}, dict.fromkeys(DOCUMENTS, ""), {"q1": {"d1": 1}, "q2": {"d2": 1}})
QUERIES = equally([EYE[[0, 2]], EYE[[3]]])


def rows(documents=DOCUMENTS, unpruned=None):
    found = measure("m", SKY, QUERIES, list(documents.values()), unpruned)
    return {row.form: row for row in found}


def test_all_vectors_keep_all():
    found = rows()
    assert list(found) == [ALL, *(f"at most {most}" for most in BUDGETS)]
    for row in found.values():  # none has more than three
        assert (row.ndcg.value, row.ndcg_kept, row.score_kept) == (1, 1, 1)
        assert row.vectors == pytest.approx(4 / 3)


def test_fewer_vectors_keep_the_score_of_what_they_hold():
    random = np.random.default_rng(0)
    long = normalize(random.standard_normal((80, 6)))
    found = rows({**DOCUMENTS, "d1": np.concatenate([EYE[[0, 1, 2]], long])})
    kept = [found[f"at most {most}"].score_kept for most in BUDGETS]
    assert kept[0] > kept[-1] and all(0 < one <= 1 for one in kept)
    assert found["at most 4"].vectors == pytest.approx(5 / 3)


def test_what_is_not_pruned_has_a_row_of_its_own():
    whole = [np.concatenate([one, EYE[[5]]]) for one in DOCUMENTS.values()]
    row = rows(unpruned=whole)[UNPRUNED]
    assert row.vectors == pytest.approx(7 / 3) and row.score_kept == 1


def test_nothing_found_with_all_vectors_is_no_share():
    nothing = {name: -one for name, one in DOCUMENTS.items()}
    row = rows({"d1": EYE[:0], "d2": EYE[:0], "d3": nothing["d1"]})[ALL]
    assert np.isnan(row.score_kept)
    assert json.loads(to_json([row]))["score_kept"] is None and "nan" in table([row])


@pytest.fixture
def data(tmp_path):
    pairs = [("moon river", "the bright moon and a river"), ("red cat", "a red cat and a dog in the house")]
    path = tmp_path / "found.jsonl"
    path.write_text("".join(json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in pairs))
    return path


@pytest.fixture
def analyse(capsys, monkeypatch):
    """Run `unbraid analyse`; gives exit code, output and errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["unbraid", "analyse", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_a_bundle_and_a_teacher_stand_side_by_side_and_are_drawn(
    analyse, bundle_folder, tiny_v4, data, tmp_path
):
    words = (bundle_folder, f"teacher:{tiny_v4}", "--multi-vectors", data, "--out", tmp_path / "report")
    code, out, said = analyse(*words, "--device", "cpu")
    assert code == 0, said
    assert out.count("| at most 32") == 2 and out.count(UNPRUNED) == 1
    assert f"teacher {tiny_v4}, retrieval" in out and "tier small" in out
    about = json.loads((tmp_path / "report" / "analysis.json").read_text(encoding="utf-8"))
    assert len(about["rows"]) == 2 * (1 + len(BUDGETS)) + 1
    with Image.open(tmp_path / "report" / "analysis.png") as picture:
        assert picture.width > 500


def test_rows_as_json(analyse, bundle_folder, data, embedder):
    _, out, _ = analyse(bundle_folder, "--multi-vectors", data, "--json")
    row = json.loads(out.splitlines()[0])
    tokens = embedder.encode(
        ["the bright moon and a river", "a red cat and a dog in the house"], multi_vector=True, tier="small"
    )
    assert row["form"] == ALL and row["vectors"] == pytest.approx(np.mean([len(one) for one in tokens]))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "either --images or --multi-vectors"),
        (("--multi-vectors", "DATA", "--images", "DATA"), "either --images or --multi-vectors"),
        (("--multi-vectors", "DATA", "--texts", "DATA"), "--texts goes with --images"),
        (("--images", "DATA", "--tier", "small"), "--tier goes with --multi-vectors"),
        (("--multi-vectors", "DATA", "--tier", "nano"), "tier nano .* choose tier small"),
        (("--multi-vectors", "STS"), "graded pairs"),
    ],
)
def test_other_uses_are_refused(analyse, bundle_folder, data, tmp_path, words, why):
    graded = tmp_path / "graded.jsonl"
    graded.write_text(json.dumps({"a": "x", "b": "y", "score": 1}) + "\n")
    places = {"DATA": data, "STS": graded}
    code, out, said = analyse(bundle_folder, *(places.get(word, word) for word in words))
    assert (code, out) == (2, "") and re.search(why, said), said
