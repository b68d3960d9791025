import json
from types import MappingProxyType

import numpy as np
import pytest

from unbraid.custom_mapper.cross_validation import agreement, ndcg_at_10
from unbraid.custom_mapper.fit_mapper import fit_mapper
from unbraid.custom_mapper.mapper_pairs import Pairs, encode_pairs
from unbraid.errors import DataError, ItemError
from unbraid.items import Code
from unbraid.runtime.routing import query_side
from unbraid.vectors import normalize

DIM, HALF = 16, 8


class Model:
    """Text "n side" is meaning n in the first half of its vector and loud noise of that side in the other half."""

    name, base_id, dim = "fake 1", "b", DIM
    modalities = ("text", "code")
    tier = query_tier = "small"
    tasks = ("query", "document", "plain")
    search_modes = MappingProxyType({"retrieval": ("query", "document"), "plain": ("plain", "plain")})

    def __init__(self, query=None, document=None):
        own = np.eye(DIM, dtype=np.float32)
        self.matrices = {"query": own if query is None else query, "document": document, "plain": own}
        self.matrices["document"] = own if document is None else document
        self.encoded = []

    def encode(self, items, *, on_truncate, progress, side=None):
        self.encoded += items
        return normalize(np.array([self.vector(item) for item in items]))

    def vector(self, item):
        number, side = item.split()
        meaning = np.random.default_rng(int(number)).standard_normal(HALF)
        noise = np.random.default_rng(int(number) + (10**6 if side == "q" else 2 * 10**6)).standard_normal(
            HALF
        )
        return np.concatenate([meaning, 1.5 * noise])

    def matrix(self, task):
        return self.matrices[task]


def answers(count, *, shuffled=False):
    order = np.random.default_rng(0).permutation(count) if shuffled else range(count)
    return Pairs([f"{n} q" for n in range(count)], [f"{n} d" for n in order], [None] * count, None)


def test_a_fit_that_helps_is_taken_and_says_what_it_gains():
    mapper = fit_mapper(Model(), answers(200), "mine")
    about = mapper.about
    assert about["strength"] > 0 and about["after"] > about["before"] + 2 * about["standard_error"]
    assert (about["metric"], about["pairs"], about["start"]) == ("nDCG@10", 200, "identity")
    assert np.mean([after for _, after in about["folds"]]) == pytest.approx(about["after"])
    assert about["existing"]["identity"] == pytest.approx(about["before"])
    assert mapper.document is None and mapper.query.dtype == np.float32


def test_what_it_promises_holds_on_pairs_that_it_never_saw():
    model = Model()
    mapper = fit_mapper(model, answers(200), "mine")
    numbers = range(1000, 1200)
    q, d = (
        model.encode([f"{n} {side}" for n in numbers], on_truncate="ignore", progress=None) for side in "qd"
    )
    own = np.eye(200, dtype=bool)

    def found(weight):
        return ndcg_at_10(normalize(q @ weight.T) @ normalize(d @ weight.T).T, own).mean()

    assert found(mapper.query) > found(np.eye(DIM)) + 0.5 * (mapper.about["after"] - mapper.about["before"])


def test_pairs_that_mean_nothing_give_the_identity():
    mapper = fit_mapper(Model(), answers(200, shuffled=True), "mine")
    assert mapper.about["strength"] == 0 and mapper.about["after"] == mapper.about["before"]
    assert np.array_equal(mapper.query, np.eye(DIM)) and mapper.document is None
    assert mapper.about["agreement"]["identity"] == 1


def test_a_mode_that_is_surely_better_is_where_the_fit_starts():
    keep = np.diag([1.0] * HALF + [0.3] * HALF).astype(np.float32)
    turned = keep[::-1].copy()
    mapper = fit_mapper(Model(query=turned, document=turned.copy()), answers(200), "mine")
    assert mapper.about["start"] == "retrieval"
    assert mapper.about["existing"]["retrieval"] > mapper.about["existing"]["plain"]
    assert mapper.document is not None and mapper.mode == ("mine-query", "mine-document")
    assert mapper.about["after"] >= mapper.about["existing"]["retrieval"] - 1e-9


def test_graded_pairs_are_scored_by_spearman():
    model, count = Model(), 250
    left, right = (
        [f"{n} {side}" for n in range(start, start + count)] for side, start in (("q", 0), ("d", 1000))
    )
    a, b = (model.encode(texts, on_truncate="ignore", progress=None) for texts in (left, right))
    grades = np.einsum("nd,nd->n", a[:, :HALF], b[:, :HALF])
    about = fit_mapper(model, Pairs(left, right, [None] * count, grades), "mine").about
    assert (about["metric"], about["kind"]) == ("Spearman", "grades")
    assert about["strength"] > 0 and about["after"] > about["before"]


def test_every_text_is_encoded_once_and_code_is_not_text():
    model = Model()
    pairs = Pairs(
        ["1 q", "1 q", "2 q"], [Code("1 d"), Code("2 d"), "2 d"], [None, Code("1 d"), None], grades=None
    )
    data = encode_pairs(model, pairs)
    assert [(type(item), str(item)) for item in model.encoded] == [
        (str, "1 q"), (str, "2 q"), (Code, "1 d"), (Code, "2 d"), (str, "2 d")
    ]  # fmt: skip
    assert (
        list(data.left) == [0, 0, 1] and list(data.right) == [0, 1, 2] and list(data.negative) == [-1, 0, -1]
    )
    assert data.queries.shape == (2, DIM) and data.documents.shape == (3, DIM)


def test_negatives_are_documents_and_counted():
    pairs = answers(100)
    with_negatives = Pairs(pairs.left, pairs.right, [f"{n + 5000} d" for n in range(100)], None)
    assert fit_mapper(Model(), with_negatives, "mine").about["negatives"] == 100


def test_more_pairs_than_are_used_are_sampled(monkeypatch):
    monkeypatch.setattr("unbraid.custom_mapper.fit_mapper.MOST", 60)
    about = fit_mapper(Model(), answers(100), "mine").about
    assert (about["pairs"], about["pairs_given"]) == (60, 100)


@pytest.mark.parametrize("name", ["query", "retrieval", "identity"])
def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(ItemError, match="choose another name"):
        fit_mapper(Model(), answers(50), name)


@pytest.mark.parametrize("name", ["", "two words", "../up", "3d"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ItemError, match="not a name for a mapper"):
        fit_mapper(Model(), answers(50), name)


def test_grades_that_are_all_the_same_are_refused():
    pairs = answers(50)
    with pytest.raises(DataError, match="same score"):
        fit_mapper(Model(), Pairs(pairs.left, pairs.right, pairs.negative, np.ones(50)), "mine")


def test_a_mapper_agrees_with_itself():
    data = encode_pairs(Model(), answers(40))
    one = np.eye(DIM, dtype=np.float32), np.eye(DIM, dtype=np.float32)
    flat = np.diag([1.0] + [1e-3] * (DIM - 1)).astype(np.float32)
    shares = agreement(data, one, {"same": one, "other": (flat, flat)})
    assert shares["same"] == 1 and shares["other"] < 0.9


def test_pairs_may_be_a_file(tmp_path):
    rows = [{"query": f"{n} q", "positive": f"{n} d"} for n in range(100)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, other = fit_mapper(Model(), path, "mine"), fit_mapper(Model(), answers(100), "mine")
    assert np.array_equal(one.query, other.query) and one.about == other.about


def test_a_folder_is_fitted_on_with_whole_files_held_out(tmp_path):
    class Headings(Model):
        def vector(self, item):
            side, number = ("q", item.split()[1]) if item.startswith("number") else ("d", item.split()[-1])
            return super().vector(f"{ord(number[0]) * 1000 + ord(number[1])} {side}")

    letters = "abcdefghijklmnop"
    for a in letters:
        sections = [f"# number {a}{b}\n{'A long section about many things, ' * 3} {a}{b}" for b in letters]
        (tmp_path / f"{a}.md").write_text("\n\n".join(sections))
    about = fit_mapper(Headings(), tmp_path, "mine").about
    assert (about["files"], about["found"], about["pairs"]) == (16, {"section": 256}, 256)
    assert about["strength"] > 0 and about["after"] > about["before"]


def test_a_folder_of_few_files_is_refused(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.md").write_text(
            f"# cats {'abc'[number]}\n{'A long section about many things. ' * 4}{number}"
        )
    with pytest.raises(
        DataError, match=r"3 pairs .* were found in 3 files, the largest has 1: .* needs 10 files"
    ):
        fit_mapper(Model(), tmp_path, "mine")


class TwoEncoders(Model):
    """Queries have an encoder of their own."""

    query_tier = "query"

    def __init__(self):
        super().__init__(document=2 * np.eye(DIM, dtype=np.float32))
        self.sides = []

    def encode(self, items, *, on_truncate, progress, side=None):
        self.sides.append(side)
        return super().encode(items, on_truncate=on_truncate, progress=progress)


def graded(count):
    left, right = [f"{n} q" for n in range(count)], [f"{n + n % 2} d" for n in range(count)]
    return Pairs(left, right, [None] * count, np.arange(count) % 2 * -1.0)


@pytest.mark.parametrize(("pairs", "side"), [(answers(60), "query"), (graded(60), "document")])
def test_a_mode_is_searched_as_it_was_fitted(pairs, side):
    model = TwoEncoders()
    mapper = fit_mapper(model, pairs, "mine")
    assert query_side(mapper.mode) == side == (model.sides[0] or "document")
    assert fit_mapper(Model(), pairs, "mine").document is None


def test_graded_pairs_do_not_start_from_a_mode_with_a_task_for_queries():
    model = TwoEncoders()
    assert fit_mapper(model, graded(60), "mine").about["existing"].keys() == {"identity", "plain"}
