import gzip
import json

import numpy as np
import pytest

from unbraid.distill.data.dev_sets import DevSet, dev_items, dev_sets, score
from unbraid.distill.data.item_sources import HELD_OUT
from unbraid.distill.data.training_items import TrainingItem


def texts(*found):
    return [TrainingItem(text, "text") for text in found]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Every held-out file, with forty rows of all the fields that any set reads."""
    folder = tmp_path_factory.mktemp("data")
    row = {
        "source": "1_CancerGov_QA",
        "set": "2014/images",
        "src": "owasp-top10-2021",
        "lang": "en",
        "qlang": "hau",
    }
    for held in HELD_OUT:
        lines = []
        for number in range(40):
            own = {
                "anchor": f"ask {number} of it. More.",
                "positive": f"answer {number}",
                "score": number / 40,
            }
            own |= {"a": f"left {number}", "b": f"right {number}", "translated_question": f"asked {number}"}
            lines.append(json.dumps(row | own | ({"lang": "de"} if held.by == "lang" else {})))
        path = folder / f"{held.file}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return dev_sets(folder, queries=10, documents=25)


def test_there_are_the_sets_that_were_asked_for(sets):
    names = {one.name: one for one in sets}
    english = [one for one in sets if one.kind == "retrieval" and one.language == "en"]
    assert len(english) >= 3 and sum(one.kind == "code" for one in sets) >= 3
    assert {
        "jsquad.ja",
        "cmrc.zh",
        "squad.it",
        "arcd.ar",
        "iapp.th",
        "afriqa.hau",
        "mgsm.de",
        "owasp.de",
    } < set(names)
    assert sum(name.startswith("stsb.") for name in names) == 11


def test_a_set_has_its_queries_documents_and_then_distractors(sets):
    one = next(one for one in sets if one.name == "package-docs")
    assert len(one.queries) == 10 and len(one.documents) == 25
    for query, wanted in zip(one.queries, one.relevant, strict=True):
        number = query.text.split()[1]
        assert [one.documents[row].text for row in wanted] == [f"answer {number}"]


def test_code_sets_have_code_as_documents_and_english_questions(sets):
    one = next(one for one in sets if one.name == "mbpp")
    assert {item.modality for item in one.documents} == {"code"} and one.tasks == ("code", "code")


def test_a_foreign_question_asks_english_paragraphs(sets):
    one = next(one for one in sets if one.name == "afriqa.hau")
    assert {item.language for item in one.queries} == {"hau"}
    assert {item.language for item in one.documents} == {"en"}
    assert not any(item.english for item in one.queries)


def test_the_first_sentence_of_a_translation_asks_for_the_paragraph(sets):
    one = next(one for one in sets if one.name == "owasp.de")
    assert all(item.text.startswith("answer") for item in one.queries)


def test_items_of_all_sets_are_distinct(sets):
    items = dev_items(sets)
    assert len({(item.modality, item.text) for item in items}) == len(items)


def test_ndcg_of_ranks_one_two_and_eleven():
    one = DevSet("s", "retrieval", "en", texts("a", "b", "c"), texts(*map(str, range(12))), [{0}, {1}, {2}])
    document = np.eye(12, dtype=np.float32)
    query = np.zeros((3, 12), np.float32)
    query[0, 0] = 1
    query[1, [5, 1]] = 1, 0.5
    query[2] = 1
    query[2, 2] = -1
    assert score(one, query, document) == pytest.approx((1 + 1 / np.log2(3) + 0) / 3)


def test_several_right_documents_share_the_ideal():
    one = DevSet("s", "retrieval", "en", texts("a"), texts("x", "y", "z"), [{0, 1}])
    assert score(one, np.array([[1.0, 0.9, 0]]), np.eye(3)) == pytest.approx(1)


def test_similarity_is_scored_by_rank_correlation():
    one = DevSet("s", "sts", "en", texts("a", "b", "c"), texts("x", "y", "z"), scores=[1.0, 2.0, 5.0])
    query = np.eye(3, dtype=np.float32)
    document = np.diag([0.1, 0.3, 0.2]).astype(np.float32)
    assert score(one, query, document) == pytest.approx(0.5)
