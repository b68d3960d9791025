"""Every loss against the formula in its docstring, written out once more in plain Python on three rows."""

from math import exp, log

import pytest
import torch

from unbraid.training.losses import cosent, cosine_loss, info_nce, prefix_cosine_loss, score_kl

STUDENT = [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]]
TARGET = [[0.8, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.8, 0.6]]


def tensor(rows):
    return torch.tensor(rows, dtype=torch.float64)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(scores):
    return [exp(score) / sum(map(exp, scores)) for score in scores]


def nce_one_way(queries, documents, temperature, masked=()):
    """Mean over queries of -log softmax of the own document's score; `masked` (query, document) do not count."""
    total = 0.0
    for i, query in enumerate(queries):
        scores = {j: dot(query, d) / temperature for j, d in enumerate(documents) if (i, j) not in masked}
        total -= log(exp(scores[i]) / sum(map(exp, scores.values())))
    return total / len(queries)


# -- cosine ----------------------------------------------------------------------------------------------


def test_cosine_loss_of_three_rows():
    assert cosine_loss(tensor(STUDENT), tensor(TARGET)).item() == pytest.approx(1 - (0.8 + 0.8 + 0.96) / 3)


def test_cosine_loss_does_not_see_lengths():
    student = tensor(STUDENT) * tensor([[2.0], [0.1], [30.0]])
    assert cosine_loss(student, tensor(TARGET) * 5).item() == pytest.approx(1 - 2.56 / 3)


def test_cosine_loss_of_unit_vectors_is_half_the_squared_distance():
    squared = ((tensor(STUDENT) - tensor(TARGET)) ** 2).sum(1).mean() / 2
    assert cosine_loss(tensor(STUDENT), tensor(TARGET)).item() == pytest.approx(squared.item())


def test_cosine_loss_of_a_zero_vector_is_finite():
    student = torch.zeros(1, 3, requires_grad=True)
    loss = cosine_loss(student, torch.ones(1, 3))
    loss.backward()
    assert loss.item() == 1 and torch.isfinite(student.grad).all()


def test_prefix_cosine_loss_is_the_mean_over_prefixes():
    first_two = 1 - (0.8 + 0.8 + (0.6 * 0.8) / (0.6 * 0.8)) / 3  # rows cut to two dims, at unit length again
    found = prefix_cosine_loss(tensor(STUDENT), tensor(TARGET), (2, 3))
    assert found.item() == pytest.approx((first_two + 1 - 2.56 / 3) / 2)


# -- in-batch score distribution ---------------------------------------------------------------------------


def test_score_kl_of_three_rows():
    temperature, total = 0.5, 0.0
    for i in range(3):
        others = [j for j in range(3) if j != i]
        p = softmax([dot(TARGET[i], TARGET[j]) / temperature for j in others])
        q = softmax([dot(STUDENT[i], STUDENT[j]) / temperature for j in others])
        total += sum(a * log(a / b) for a, b in zip(p, q, strict=True))
    assert score_kl(tensor(STUDENT), tensor(TARGET), temperature).item() == pytest.approx(total / 3)


def test_score_kl_is_zero_for_the_same_neighbours_in_another_basis():
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    assert score_kl(tensor(STUDENT) @ turn, tensor(STUDENT), 0.05).item() == pytest.approx(0, abs=1e-9)


def test_score_kl_of_one_row_is_zero_and_has_a_finite_gradient():
    student = tensor(STUDENT[:1]).requires_grad_()
    loss = score_kl(student, tensor(TARGET[:1]), 0.05)
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(student.grad).all()


# -- InfoNCE -------------------------------------------------------------------------------------------------


def test_info_nce_of_three_rows():
    forth, back = nce_one_way(STUDENT, TARGET, 0.5), nce_one_way(TARGET, STUDENT, 0.5)
    assert info_nce(tensor(STUDENT), tensor(TARGET), 0.5).item() == pytest.approx((forth + back) / 2)


def test_info_nce_leaves_out_masked_pairs_both_ways():
    same = torch.tensor([[True, True, False], [False, True, False], [False, False, True]])
    forth = nce_one_way(STUDENT, TARGET, 0.5, masked={(0, 1)})
    back = nce_one_way(TARGET, STUDENT, 0.5, masked={(1, 0)})
    found = info_nce(tensor(STUDENT), tensor(TARGET), 0.5, same=same)
    assert found.item() == pytest.approx((forth + back) / 2)


def test_info_nce_never_masks_the_own_positive():
    diagonal = torch.eye(3, dtype=torch.bool)
    assert info_nce(tensor(STUDENT), tensor(TARGET), 0.5, same=diagonal) == info_nce(
        tensor(STUDENT), tensor(TARGET), 0.5
    )


def test_info_nce_with_every_negative_masked_is_zero():
    same = torch.ones(3, 3, dtype=torch.bool)
    assert info_nce(tensor(STUDENT), tensor(TARGET), 0.05, same=same).item() == pytest.approx(0, abs=1e-9)


def test_info_nce_of_one_pair_is_zero():
    assert info_nce(tensor(STUDENT[:1]), tensor(TARGET[:1]), 0.05).item() == 0


# -- CoSENT ----------------------------------------------------------------------------------------------------


def test_cosent_of_three_graded_pairs():
    scores, grades, temperature = [0.9, 0.2, 0.5], [1.0, 3.0, 3.0], 0.1
    wrong = [
        exp((scores[j] - scores[i]) / temperature)
        for i in range(3)
        for j in range(3)
        if grades[i] > grades[j]
    ]
    assert len(wrong) == 2  # pairs of the same grade do not count
    found = cosent(tensor(scores), tensor(grades), temperature)
    assert found.item() == pytest.approx(log(1 + sum(wrong)))


def test_cosent_of_equal_grades_is_zero_and_has_a_gradient():
    scores = tensor([0.9, 0.2, 0.5]).requires_grad_()
    loss = cosent(scores, tensor([2.0, 2.0, 2.0]), 0.05)
    loss.backward()
    assert loss.item() == 0 and scores.grad.tolist() == [0, 0, 0]


def test_cosent_of_one_pair_is_zero():
    assert cosent(tensor([0.3]), tensor([1.0]), 0.05).item() == 0


def test_cosent_does_not_overflow_at_the_temperature_in_use():
    assert cosent(torch.tensor([-1.0, 1.0]), torch.tensor([5.0, 0.0]), 0.05).item() == pytest.approx(40)


def test_cosent_falls_when_the_order_is_right():
    right, wrong = tensor([0.1, 0.5, 0.9]), tensor([0.9, 0.5, 0.1])
    grades = tensor([0.0, 2.5, 5.0])
    assert cosent(right, grades, 0.05) < 0.01 < cosent(wrong, grades, 0.05)
