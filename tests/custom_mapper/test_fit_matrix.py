import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unbraid.custom_mapper.fit_matrix import (
    TEMPERATURE,
    _batches,
    adam,
    cosent,
    fit_answers,
    fit_grades,
    info_nce,
    whiten,
)
from unbraid.vectors import normalize

DIM = 6


def unit(rng, count, dim=DIM):
    return normalize(rng.standard_normal((count, dim))).astype(np.float64)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def weight(rng):
    return np.eye(DIM) + 0.2 * rng.standard_normal((DIM, DIM))


def numeric(loss, weight, step=1e-6):
    """The gradient of `loss` by finite differences."""
    slope = np.empty_like(weight)
    for place in np.ndindex(*weight.shape):
        one = np.zeros_like(weight)
        one[place] = step
        slope[place] = (loss(weight + one) - loss(weight - one)) / (2 * step)
    return slope


@pytest.mark.parametrize("extra", [0, 3])
def test_info_nce_gradient_is_that_of_finite_differences(rng, weight, extra):
    q, d, apart = unit(rng, 5), unit(rng, 5), unit(rng, extra)
    q[4] = q[0]  # one query with two documents: neither is the other's negative
    slope = info_nce(weight, q, d, apart)[1]
    np.testing.assert_allclose(slope, numeric(lambda w: info_nce(w, q, d, apart)[0], weight), atol=1e-6)


def test_cosent_gradient_is_that_of_finite_differences(rng, weight):
    a, b, grades = unit(rng, 5), unit(rng, 5), np.array([0.1, 0.5, 0.5, 0.9, 0.0])
    slope = cosent(weight, a, b, grades)[1]
    np.testing.assert_allclose(slope, numeric(lambda w: cosent(w, a, b, grades)[0], weight), atol=1e-5)


def test_info_nce_agrees_with_torch(rng, weight):
    q, d, apart = unit(rng, 7), unit(rng, 7), unit(rng, 4)
    w = torch.tensor(weight, requires_grad=True)
    uq, ud, un = (F.normalize(torch.tensor(x) @ w.T, dim=-1) for x in (q, d, apart))
    own = torch.arange(7)
    rows = F.cross_entropy(uq @ torch.cat([ud, un]).T / TEMPERATURE, own)
    loss = (rows + F.cross_entropy(ud @ uq.T / TEMPERATURE, own)) / 2
    loss.backward()
    found, slope = info_nce(weight, q, d, apart)
    assert found == pytest.approx(loss.item())
    np.testing.assert_allclose(slope, w.grad.numpy(), atol=1e-9)


def test_cosent_agrees_with_torch(rng, weight):
    a, b, grades = unit(rng, 7), unit(rng, 7), rng.random(7)
    w = torch.tensor(weight, requires_grad=True)
    ua, ub = (F.normalize(torch.tensor(x) @ w.T, dim=-1) for x in (a, b))
    cosines = (ua * ub).sum(-1) / TEMPERATURE
    below = torch.tensor(grades[:, None] < grades)
    loss = torch.logsumexp(torch.cat([torch.zeros(1), (cosines[:, None] - cosines)[below]]), 0)
    loss.backward()
    found, slope = cosent(weight, a, b, grades)
    assert found == pytest.approx(loss.item())
    np.testing.assert_allclose(slope, w.grad.numpy(), atol=1e-9)


def test_adam_is_torchs_adam_with_a_falling_rate(rng):
    start, target = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    w = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=0.1, betas=(0.9, 0.99), eps=1e-10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 8)
    for _ in range(8):
        optimizer.zero_grad()
        (w - torch.tensor(target)).square().sum().backward()
        optimizer.step()
        schedule.step()
    found = adam(start, lambda weight, step: 2 * (weight - target), rate=0.1, steps=8)
    np.testing.assert_allclose(found, w.detach().numpy(), atol=1e-6)


def test_near_equal_documents_are_no_negatives_of_each_other(rng):
    q, d = unit(rng, 2), unit(rng, 1)
    assert info_nce(np.eye(DIM), q, d[[0, 0]], d[:0])[0] == pytest.approx(0)  # nothing is left to tell apart


def test_whitening_shrinks_the_direction_in_which_pairs_differ(rng):
    left = unit(rng, 200)
    right = left.copy()
    right[:, 0] += rng.standard_normal(200)
    weight = whiten(left, right, 1.0)
    gains = np.linalg.norm(weight, axis=0)
    assert gains[0] < 0.5 * gains[1:].min()
    np.testing.assert_allclose(weight, weight.T, atol=1e-6)
    assert np.square(left @ weight.T).sum(1).mean() == pytest.approx(1, abs=1e-5)


def test_whitening_pairs_that_do_not_differ_changes_nothing_but_the_scale(rng):
    left = unit(rng, 20)
    weight = whiten(left, left, 3.0)
    np.testing.assert_allclose(weight / weight[0, 0], np.eye(DIM), atol=1e-6)


def noisy_pairs(rng, count, dim=16):
    """Pairs that agree in half of the dimensions; the other half is louder noise."""
    meaning = rng.standard_normal((count, dim // 2))
    sides = [np.hstack([meaning, 2 * rng.standard_normal((count, dim // 2))]) for _ in range(2)]
    return [normalize(side) for side in sides]


def test_a_fit_finds_what_pairs_have_in_common(rng):
    left, right = noisy_pairs(rng, 300)
    new_left, new_right = noisy_pairs(rng, 100)
    weight = fit_answers(left, right, right[:0], np.array([], int))

    def first(a, b):
        return np.mean(np.argmax(normalize(a) @ normalize(b).T, axis=1) == np.arange(len(a)))

    assert first(new_left @ weight.T, new_right @ weight.T) > 1.5 * first(new_left, new_right)
    assert weight.dtype == np.float32


def test_graded_pairs_are_ordered_by_their_grades(rng):
    left, right = noisy_pairs(rng, 300)
    grades = np.einsum("nd,nd->n", left[:, :8], right[:, :8])
    weight = fit_grades(left, right, grades)

    def agreement(a, b):
        return np.corrcoef(np.einsum("nd,nd->n", normalize(a), normalize(b)), grades)[0, 1]

    assert agreement(left @ weight.T, right @ weight.T) > agreement(left, right)


def test_more_pairs_than_a_batch_are_taken_in_turns():
    batches = _batches(1200, 5)
    assert [len(rows) for rows in batches] == [512] * 5
    assert len(np.unique(np.concatenate(batches[:2]))) == 1024
    assert all(np.array_equal(a, b) for a, b in zip(batches, _batches(1200, 5), strict=True))
