from hypothesis import given
from hypothesis import strategies as st

from unbraid.runtime.batching import token_budget_batches

LENGTHS = st.lists(st.integers(0, 300), max_size=60)
BUDGETS = st.integers(1, 2000)


def test_no_items_need_no_batch():
    assert token_budget_batches([], budget=100) == []


def test_a_hand_made_case_is_cut_where_the_budget_ends():
    assert token_budget_batches([3, 9, 5, 4, 1], budget=10) == [[1], [2, 3], [0, 4]]


def test_items_of_one_length_keep_their_order():
    assert token_budget_batches([2] * 5, budget=4) == [[0, 1], [2, 3], [4]]


def test_an_item_over_the_budget_is_a_batch_of_its_own():
    assert token_budget_batches([50, 1, 60], budget=10) == [[2], [0], [1]]


@given(LENGTHS, BUDGETS)
def test_every_position_occurs_once(lengths, budget):
    batches = token_budget_batches(lengths, budget=budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_padded_tokens_stay_within_the_budget(lengths, budget):
    for batch in token_budget_batches(lengths, budget=budget):
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@given(LENGTHS, BUDGETS)
def test_batches_go_from_long_to_short(lengths, budget):
    order = [lengths[row] for batch in token_budget_batches(lengths, budget=budget) for row in batch]
    assert order == sorted(lengths, reverse=True)


@given(LENGTHS, BUDGETS)
def test_two_neighbouring_batches_would_not_fit_into_one(lengths, budget):
    batches = token_budget_batches(lengths, budget=budget)
    for batch in batches[:-1]:
        assert lengths[batch[0]] * (len(batch) + 1) > budget
