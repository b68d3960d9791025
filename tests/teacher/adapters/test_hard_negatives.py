"""Hard negatives: the best-scored documents that are not positives, marked or likely."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.teacher.adapters import hard_negatives as module
from unbraid.teacher.adapters.hard_negatives import false_negatives, mine_hard_negatives

# One query along the first axis; the cosine of each document is its first number.
QUERY = torch.tensor([[1.0, 0.0]])
COSINES = [0.8, 0.9, 0.77, 0.75, 0.1, -0.5]
DOCUMENTS = torch.tensor([[c, (1 - c * c) ** 0.5] for c in COSINES])


def mined(positives, own, count, share=0.95):
    return mine_hard_negatives(
        QUERY, DOCUMENTS, [positives], torch.tensor([own]), count=count, share=share
    ).tolist()


def units(n, generator, dim=5):
    return torch.nn.functional.normalize(torch.randn(n, dim, generator=generator), dim=-1)


def brute_force(queries, documents, positives, own, count, share):
    """The rule in plain Python, from the same cosines."""
    scores, found = (queries @ documents.T).tolist(), []
    for row, cosines in enumerate(scores):
        limit = share * cosines[own[row]]
        kept = [j for j, c in enumerate(cosines) if j not in positives[row] and not c > limit]
        kept.sort(key=lambda j, cosines=cosines: -cosines[j])
        found.append((kept + [-1] * count)[:count])
    return found


def test_documents_above_the_share_of_the_positives_score_are_false_negatives():
    scores = torch.tensor([[0.8, 0.77, 0.75], [-0.2, -0.21, -0.1]])
    found = false_negatives(scores, torch.tensor([0.8, -0.2]), 0.95)
    assert found.tolist() == [[True, True, False], [False, False, True]]  # limits 0.76 and -0.19


def test_a_document_at_the_limit_is_no_false_negative():
    assert false_negatives(torch.tensor([[0.5, 0.25]]), torch.tensor([0.5]), 0.5).tolist() == [[True, False]]


def test_negatives_are_the_best_below_the_limit_in_order():
    assert mined({0}, 0, count=2) == [[3, 4]]  # 0.9 and 0.77 are above 0.95 * 0.8


def test_a_lower_share_passes_over_more():
    assert mined({0}, 0, count=2, share=0.5) == [[4, 5]]


def test_a_share_above_one_keeps_documents_that_score_above_the_positive():
    assert mined({0}, 0, count=3, share=1.2) == [[1, 2, 3]]


def test_where_there_are_fewer_the_rest_is_minus_one():
    assert mined({0}, 0, count=5) == [[3, 4, 5, -1, -1]]


def test_more_than_there_are_documents_may_be_asked_for():
    assert mined({0}, 0, count=9) == [[3, 4, 5, *[-1] * 6]]


def test_every_known_positive_is_left_out():
    assert mined({0, 3, 5}, 0, count=2) == [[4, -1]]


def test_the_limit_is_that_of_the_documents_own_pair():
    assert mined({0, 1}, 1, count=3, share=1.0) == [[2, 3, 4]]


def test_blocks_do_not_change_what_is_found(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    queries, documents = units(10, generator), units(20, generator)
    own = torch.arange(10)
    positives = [{row} for row in range(10)]
    whole = mine_hard_negatives(queries, documents, positives, own, count=4, share=0.95)
    monkeypatch.setattr(module, "BLOCK", 3)
    assert torch.equal(mine_hard_negatives(queries, documents, positives, own, count=4, share=0.95), whole)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(1, 15),
    st.integers(1, 8),
    st.floats(0.1, 1.1),
)
def test_what_is_found_is_the_brute_force_ranking_and_never_a_positive(seed, n, m, count, share):
    generator = torch.Generator().manual_seed(seed)
    queries, documents = units(n, generator), units(m, generator)
    own = torch.randint(m, (n,), generator=generator)
    more = torch.randint(m, (n, 2), generator=generator).tolist()
    positives = [{one, *others} for one, others in zip(own.tolist(), more, strict=True)]
    found = mine_hard_negatives(queries, documents, positives, own, count=count, share=share).tolist()
    assert all(not positive & set(row) for positive, row in zip(positives, found, strict=True))
    # The same cosines, rounded the same: a product of one row may differ from it in the last bit.
    scores = queries @ documents.T
    near = (scores - share * scores.gather(1, own[:, None])).abs() < 1e-6
    if not near.any():
        assert found == brute_force(queries, documents, positives, own.tolist(), count, share)


@pytest.mark.parametrize("count", [1, 4])
def test_no_queries_give_no_rows(count):
    found = mine_hard_negatives(
        torch.empty(0, 2), DOCUMENTS, [], torch.empty(0, dtype=torch.long), count=count, share=0.95
    )
    assert found.shape == (0, count)
