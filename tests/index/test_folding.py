"""Searching base vectors with a folded query gives what an index of mapped vectors would give."""

from types import MappingProxyType
from typing import NamedTuple, cast
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unbraid
from unbraid.index.search.folding import fit_folding, folding_for
from unbraid.index.search.search import search_vectors
from unbraid.index.store.entry import Entry
from unbraid.index.store.store import Candidates, Store
from unbraid.items import MODALITIES
from unbraid.vectors import fold, normalize

DIM, ROWS, TOP, QUERIES = 48, 600, 10, 50


class Linear:
    """A model of one search mode whose two sides share the matrix W."""

    base_id = "b"
    modalities = MODALITIES
    search_modes = MappingProxyType({"own": ("own", "own")})

    def __init__(self, weight):
        self.weight, self.dim = weight, len(weight)

    def matrix(self, task):
        return self.weight

    def map(self, base, task):
        return normalize(base @ self.weight.T)


class Found(NamedTuple):
    """A point that a store found."""

    id: UUID
    score: float


class Base:
    """A store of base vectors in memory, exact by inner product as the real one; `most` limits what it fetches."""

    def __init__(self, base, most):
        self.base, self.most = base, most

    def nearest(self, queries, limit, filter):
        scores = [self.base @ query for query in queries]
        best = [np.argsort(-some)[: min(limit, self.most)] for some in scores]
        return [
            Candidates([Found(UUID(int=int(row)), float(some[row])) for row in rows])
            for some, rows in zip(scores, best, strict=True)
        ]

    def vectors(self, ids):
        return self.base[[one.int for one in ids]]

    def size(self):
        return len(self.base)

    def sample(self):
        return self.base

    def recent_version(self):
        return "", 0

    def kept_sample(self, version):
        return self.base

    def entries(self, ids, vectors):
        return [Entry(f"{one.int:06}", "text", 1, 1, str(one.int), "s", 1, 1, 0, 1) for one in ids]


def agreement(weight, base, queries, most):
    """Share of the ten best of a materialized index that a search of base vectors finds, fetching at most `most`."""
    model, store = Linear(weight), cast(Store, Base(base, most))
    documents = model.map(base, "own")
    found = 0
    for query in queries:
        scores = documents @ model.map(query[None], "own")[0]
        tenth = np.sort(scores)[-TOP] - 1e-6  # equal scores may change places
        (hits,) = search_vectors(store, model, query[None], mode="own", k=TOP)
        found += sum(scores[int(hit.snippet)] >= tenth for hit in hits)
    return found / (TOP * len(queries))


def random(rng, dim):
    return rng.standard_normal((dim, dim))


def orthogonal(rng, dim):
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0]


def near_singular(rng, dim):
    return orthogonal(rng, dim) * np.logspace(0, -6, dim) @ orthogonal(rng, dim)


def low_rank(rng, dim):
    return rng.standard_normal((dim, dim // 3)) @ rng.standard_normal((dim // 3, dim))


def near_identity(rng, dim):
    return np.eye(dim) + 0.3 * low_rank(rng, dim) / dim


KINDS = [random, orthogonal, near_singular, low_rank, near_identity]
kinds, seeds = st.sampled_from(KINDS), st.integers(0, 2**32 - 1)


def case(kind, seed):
    rng = np.random.default_rng(seed)
    base = normalize(rng.standard_normal((ROWS, DIM)))
    return kind(rng, DIM).astype(np.float32), base, normalize(rng.standard_normal((5, DIM)))


@settings(max_examples=50, deadline=None)
@given(kinds, seeds)
def test_a_folded_query_over_the_mapped_length_is_the_cosine(kind, seed):
    weight, base, queries = case(kind, seed)
    mapped = base @ weight.T
    q = normalize(queries @ weight.T)[0]
    cosines = (base @ fold(weight, q)) / np.linalg.norm(mapped, axis=1)
    np.testing.assert_allclose(cosines, normalize(mapped) @ q, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(kinds, seeds)
def test_search_is_exact_when_everything_is_scored(kind, seed):
    weight, base, queries = case(kind, seed)
    base = base[:50]  # the least that a search scores
    assert agreement(weight, base, queries, most=len(base)) == 1


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_a_rotation_needs_no_lengths(seed):  # the ten that are fetched are the ten best
    assert agreement(*case(orthogonal, seed), most=TOP) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_top_ten_is_that_of_a_materialized_index(kind):
    rng = np.random.default_rng(0)
    base = normalize(rng.standard_normal((ROWS, DIM)))
    queries = normalize(rng.standard_normal((QUERIES, DIM)))
    # 50 are scored at least; what is near singular maps to lengths of all sizes, which is the hardest case.
    assert agreement(kind(rng, DIM).astype(np.float32), base, queries, most=200) >= 0.998


@pytest.mark.parametrize("task", ["query", "document", "symmetric", "code"])
def test_the_starters_mappers_fold(task):
    model, rng = unbraid.load(threads=1), np.random.default_rng(1)
    centres = rng.standard_normal((20, model.dim))
    base = normalize(centres[rng.integers(0, 20, ROWS)] + 2 * rng.standard_normal((ROWS, model.dim)))
    weight, queries = model.matrix(task), base[:QUERIES]
    np.testing.assert_allclose(model.map(base, task), normalize(base @ weight.T), atol=1e-5)
    assert agreement(weight, base, queries, most=200) >= 0.9999


def cone(rng, dim, rows):
    """Base vectors whose mapped ones lie in a cone and differ in length; the mapper."""
    base = normalize(rng.standard_normal((rows, dim)) + 0.3)
    weight = orthogonal(rng, dim) + 4 * np.outer(
        normalize(rng.standard_normal((1, dim)))[0], normalize(np.ones((1, dim)))[0]
    )
    return base, weight.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_vectors_in_a_cone_are_asked_for_without_what_they_share(seed):
    rng = np.random.default_rng(seed)
    base, weight = cone(rng, DIM, 20_000)
    model, queries = Linear(weight), base[:20]
    folding = fit_folding(model, base[100:2100], "own", "own")
    assert folding.centre.any()
    exact = model.map(queries, "own") @ model.map(base, "own").T
    tenth = np.sort(exact, axis=1)[:, [-TOP]]

    def found(asked):
        fetched = np.argsort(-(asked @ base.T), axis=1)[:, :100]
        return (np.take_along_axis(exact, fetched, axis=1) >= tenth).sum() / (TOP * len(queries))

    mapped = model.map(queries, "own")
    assert found(folding(mapped)) > found(mapped @ weight)


def test_a_rotation_is_folded_as_it_is():
    rng = np.random.default_rng(0)
    base = normalize(rng.standard_normal((500, DIM)))
    folding = fit_folding(Linear(orthogonal(rng, DIM).astype(np.float32)), base, "own", "own")
    assert not folding.centre.any() and not folding.length.any()


def test_a_folding_is_kept_until_the_index_has_doubled():
    rng = np.random.default_rng(0)
    base = normalize(rng.standard_normal((1000, DIM)))
    model, store = Linear(random(rng, DIM).astype(np.float32)), Base(base[:400], 10)

    kept = {}

    def folding():
        return folding_for(kept, store, model, "own", "own", 100)

    first = folding()
    store.base = base[:700]
    assert folding() is first
    store.base = base
    assert folding() is not first
    assert not folding_for(kept, store, model, "own", "own", 1000).centre.any()
