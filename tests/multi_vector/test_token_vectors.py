import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import DataError
from unbraid.multi_vector.codes import pack, unpack
from unbraid.multi_vector.maxsim import answers, maxsim
from unbraid.multi_vector.token_vectors import TokenVectors, pool, prune
from unbraid.vectors import normalize


def tokens(seed: int, count: int, dim: int = 8) -> TokenVectors:
    random = np.random.default_rng(seed)
    vectors = normalize(random.standard_normal((count, dim)))
    return TokenVectors(vectors, random.uniform(0.1, 2, count).astype(np.float32), np.arange(count) + 1000)


def plain_maxsim(query: TokenVectors, document: np.ndarray) -> float:
    total = weight = 0.0
    for vector, share in zip(query.vectors.tolist(), query.weights.tolist(), strict=True):
        cosines = [sum(a * b for a, b in zip(vector, other, strict=True)) for other in document.tolist()]
        total += share * max(cosines)
        weight += share
    return total / weight


@given(st.integers(0, 999), st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_maxsim_is_the_plain_one(seed, words, lengths):
    query = tokens(seed, words)
    documents = [tokens(seed + n + 1, count).vectors for n, count in enumerate(lengths)]
    expected = [plain_maxsim(query, document) for document in documents]
    assert np.allclose(maxsim(query, documents), expected, atol=1e-6)


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 9))
def test_weighted_vectors_give_the_score_to_an_engine_that_only_adds(seed, words, length):
    query, document = tokens(seed, words), tokens(seed + 1, length).vectors
    added = (query.weighted() @ document.T).max(axis=1).sum()
    assert np.allclose(added, maxsim(query, [document]), atol=1e-6)


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 9))
def test_the_order_of_tokens_does_not_matter(seed, words, length):
    query, document = tokens(seed, words), tokens(seed + 1, length).vectors
    shuffled = np.random.default_rng(seed).permutation
    score = maxsim(query.rows(shuffled(words)), [document[shuffled(length)]])
    assert np.allclose(score, maxsim(query, [document]), atol=1e-6)


@given(st.integers(0, 999), st.integers(0, 4))
def test_a_score_does_not_depend_on_the_documents_beside_it(seed, others):
    query, document = tokens(seed, 3), tokens(seed + 1, 5).vectors
    beside = [tokens(seed + n, n).vectors for n in range(others)]
    assert np.allclose(maxsim(query, [*beside, document])[-1], maxsim(query, [document])[0], atol=1e-6)


def test_an_empty_document_scores_lowest_and_an_empty_query_finds_nothing():
    query, nothing = tokens(1, 3), tokens(1, 0)
    assert maxsim(query, [nothing.vectors, tokens(2, 4).vectors]).argmin() == 0
    assert maxsim(query, [nothing.vectors]).tolist() == [-1]
    assert maxsim(nothing, [tokens(2, 4).vectors]).tolist() == [-1]
    assert maxsim(query, []).shape == (0,)


def test_answers_name_the_token_with_the_largest_cosine():
    document = tokens(3, 7).vectors
    query = TokenVectors(document[[5, 2]], np.ones(2, np.float32), np.asarray([7, 8]))
    places, cosines = answers(query, document)
    assert places.tolist() == [5, 2]
    assert np.allclose(cosines, 1, atol=1e-6)


def test_pruning_drops_stop_words_and_repeats():
    many = tokens(4, 5)
    repeated = TokenVectors(many.vectors[[0, 1, 0, 2]], many.weights[:4], np.asarray([10, 11, 10, 12]))
    assert prune(repeated, {11}).ids.tolist() == [10, 12]
    same_word_elsewhere = TokenVectors(many.vectors[:2], many.weights[:2], np.asarray([10, 10]))
    assert len(prune(same_word_elsewhere, set())) == 2


def test_a_text_of_stop_words_keeps_them():
    assert len(prune(tokens(5, 3), {1000, 1001, 1002})) == 3


@given(st.integers(0, 999), st.integers(0, 9))
def test_where_nothing_is_pruned_all_agrees(seed, count):
    found = tokens(seed, count)
    pruned = prune(found, {7})
    assert (pruned.vectors == found.vectors).all()
    assert (pruned.weights == found.weights).all()


@given(st.integers(0, 999), st.integers(0, 20), st.integers(1, 8))
def test_pooling_keeps_a_budget_of_unit_vectors(seed, count, most):
    pooled = pool(tokens(seed, count).vectors, most)
    assert len(pooled) == min(count, most)
    assert np.allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("count", "most"), [(30, 8), (120, 3), (120, 100), (9, 1)])
def test_pooling_joins_what_scipy_joins(count, most):
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    vectors = tokens(6, count, 16).vectors
    groups = hierarchy.fcluster(hierarchy.linkage(vectors, "ward"), most, "maxclust")
    expected = normalize(np.stack([vectors[groups == group].sum(0) for group in np.unique(groups)]))
    found = pool(vectors, most)
    assert np.allclose(sorted(map(tuple, found.round(4))), sorted(map(tuple, expected.round(4))), atol=2e-4)


@given(st.integers(0, 999), st.integers(1, 6), st.integers(2, 4))
def test_pooling_joins_repeats_first(seed, distinct, times):
    vectors = tokens(seed, distinct).vectors
    pooled = pool(np.tile(vectors, (times, 1)), distinct)
    assert np.allclose(sorted(map(tuple, pooled)), sorted(map(tuple, vectors)), atol=1e-5)


@given(st.integers(0, 999), st.integers(0, 9))
def test_packed_vectors_come_back(seed, count):
    vectors = tokens(seed, count, 64).vectors
    packed = pack(vectors)
    assert len(packed) == count * 32
    found = unpack(packed, 64)
    assert found.shape == vectors.shape
    # A number is off by half a step at most, and a step is a seventh of the largest.
    error = np.sqrt(64) * np.abs(vectors).max(axis=1, initial=0) / 14
    assert ((found * vectors).sum(1) > np.sqrt(1 - error**2) - 0.001).all()


def test_packed_zeros_stay_zeros():
    assert not unpack(pack(np.zeros((2, 4), np.float32)), 4).any()


def test_bytes_of_another_size_are_refused():
    with pytest.raises(DataError, match="four bits"):
        unpack(b"12345", 64)
