"""Every loss against the formula in its docstring, written out once more in plain Python on three rows."""

from math import exp, log

import pytest
import torch

from unbraid.training.losses import (
    caption_nce,
    cosent,
    cosine_loss,
    cross_score_kl,
    distribution_kl,
    info_nce,
    late_scores,
    nce,
    over_prefixes,
    prefix_cosine_loss,
    score_kl,
)

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


def test_cross_score_kl_of_three_rows():
    temperature, total = 0.5, 0.0
    for i in range(3):
        p = softmax([dot(TARGET[i], target) / temperature for target in TARGET])
        q = softmax([dot(STUDENT[i], target) / temperature for target in TARGET])
        total += sum(a * log(a / b) for a, b in zip(p, q, strict=True))
    assert cross_score_kl(tensor(STUDENT), tensor(TARGET), temperature).item() == pytest.approx(total / 3)


def test_cross_score_kl_is_zero_for_students_that_are_the_targets():
    assert cross_score_kl(tensor(TARGET), tensor(TARGET), 0.05).item() == pytest.approx(0, abs=1e-12)


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


# -- NCE of scores -------------------------------------------------------------------------------------------

# Three queries; a column for each positive, then one for each of two hard negatives.
SCORES = [[0.9, 0.3, -0.2, 0.7, 0.1], [0.4, 0.8, 0.0, 0.2, 0.6], [-0.5, 0.1, 0.5, 0.3, 0.95]]


def nce_of(scores, temperature, left_out=()):
    """The mean over rows of -log softmax of the diagonal; `left_out` (row, column) are not in the sum."""
    total = 0.0
    for i, row in enumerate(scores):
        counted = [exp(s / temperature) for j, s in enumerate(row) if (i, j) not in left_out]
        total -= log(exp(row[i] / temperature) / sum(counted))
    return total / len(scores)


def mask(pairs, columns):
    return torch.tensor([[(i, j) in pairs for j in range(columns)] for i in range(3)])


@pytest.mark.parametrize("columns", [3, 5])
def test_nce_of_three_rows(columns):
    scores = [row[:columns] for row in SCORES]
    assert nce(tensor(scores), 0.5).item() == pytest.approx(nce_of(scores, 0.5))


def test_nce_with_hard_negatives_is_larger():
    assert nce(tensor(SCORES), 0.5) > nce(tensor(SCORES)[:, :3], 0.5)


def test_nce_leaves_out_what_is_excluded():
    pairs = {(0, 1), (0, 3), (2, 4)}
    found = nce(tensor(SCORES), 0.5, excluded=mask(pairs, 5))
    assert found.item() == pytest.approx(nce_of(SCORES, 0.5, pairs))


def test_nce_counts_a_positive_that_is_excluded():
    pairs = {(0, 0), (1, 1), (2, 2), (0, 3)}
    found = nce(tensor(SCORES), 0.5, excluded=mask(pairs, 5))
    assert found.item() == pytest.approx(nce_of(SCORES, 0.5, {(0, 3)}))


def test_nce_with_everything_excluded_is_zero_and_has_a_finite_gradient():
    scores = tensor(SCORES).requires_grad_()
    loss = nce(scores, 0.05, excluded=torch.ones(3, 5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


def test_nce_is_one_direction_of_info_nce():
    scores = tensor(STUDENT) @ tensor(TARGET).T
    both = (nce(scores, 0.5) + nce(scores.T, 0.5)) / 2
    assert info_nce(tensor(STUDENT), tensor(TARGET), 0.5).item() == pytest.approx(both.item())


def test_nce_is_that_of_sentence_transformers():
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    generator = torch.Generator().manual_seed(0)
    query, positive, negative = torch.nn.functional.normalize(
        torch.randn(3, 6, 8, generator=generator), dim=-1
    )
    published = MultipleNegativesRankingLoss(torch.nn.Identity(), scale=20.0)
    expected = published.compute_loss_from_embeddings([query, positive, negative], torch.empty(0))
    found = nce(query @ torch.cat([positive, negative]).T, 1 / 20)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)  # float32


# -- agreement of two score distributions ----------------------------------------------------------------------

OTHER = [[0.5, 0.4, 0.1, 0.2, 0.0], [0.1, 0.9, 0.3, -0.4, 0.2], [0.0, 0.2, 0.7, 0.6, -0.3]]


def kl_of(scores, other, temperature, left_out=()):
    total = 0.0
    for i, rows in enumerate(zip(scores, other, strict=True)):
        p, q = (
            softmax([s / temperature for j, s in enumerate(row) if (i, j) not in left_out]) for row in rows
        )
        total += sum(a * log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(scores)


def test_distribution_kl_of_three_rows():
    found = distribution_kl(tensor(SCORES), tensor(OTHER), 0.5)
    assert found.item() == pytest.approx(kl_of(SCORES, OTHER, 0.5))


def test_distribution_kl_is_not_symmetric():
    forth, back = (distribution_kl(*map(tensor, two), 0.5) for two in ((SCORES, OTHER), (OTHER, SCORES)))
    assert back.item() == pytest.approx(kl_of(OTHER, SCORES, 0.5)) and abs(forth - back) > 0.01


def test_distribution_kl_leaves_out_what_is_excluded():
    pairs = {(0, 1), (1, 3), (1, 4)}
    found = distribution_kl(tensor(SCORES), tensor(OTHER), 0.5, excluded=mask(pairs, 5))
    assert found.item() == pytest.approx(kl_of(SCORES, OTHER, 0.5, pairs))


def test_distribution_kl_counts_a_positive_that_is_excluded():
    pairs = {(0, 0), (1, 1), (2, 2), (0, 3)}
    found = distribution_kl(tensor(SCORES), tensor(OTHER), 0.5, excluded=mask(pairs, 5))
    assert found.item() == pytest.approx(kl_of(SCORES, OTHER, 0.5, {(0, 3)}))


def test_distribution_kl_of_the_same_scores_is_zero():
    shifted = tensor(SCORES) + tensor([[1.0], [-2.0], [0.5]])  # a softmax does not see a shift
    assert distribution_kl(tensor(SCORES), shifted, 0.05).item() == pytest.approx(0, abs=1e-9)


def test_distribution_kl_teaches_the_second_scores_alone():
    scores, other = tensor(SCORES).requires_grad_(), tensor(OTHER).requires_grad_()
    distribution_kl(scores, other, 0.5).backward()
    assert scores.grad is None and other.grad.any()


# -- prefixes ----------------------------------------------------------------------------------------------------


def test_over_prefixes_is_the_mean_of_the_losses_of_the_cut_vectors():
    def unit(row):
        return [x / dot(row, row) ** 0.5 for x in row]

    expected = []
    for dim in (2, 3):
        left, right = ([unit(row[:dim]) for row in rows] for rows in (STUDENT, TARGET))
        expected.append(nce_one_way(left, right, 0.5))
    found = over_prefixes(lambda a, b: nce(a @ b.T, 0.5), tensor(STUDENT), tensor(TARGET), (2, 3))
    assert found.item() == pytest.approx(sum(expected) / 2)


def test_over_prefixes_takes_more_documents_than_queries():
    found = over_prefixes(lambda a, b: nce(a @ b.T, 0.5), tensor(STUDENT[:2]), tensor(TARGET), (3,))
    assert found.item() == pytest.approx(nce((tensor(STUDENT[:2]) @ tensor(TARGET).T), 0.5).item())


# -- late interaction --------------------------------------------------------------------------------------------


def padded(items):
    """Lists of token vectors as one tensor, zero rows beyond an item."""
    return torch.nn.utils.rnn.pad_sequence([tensor(item) for item in items], batch_first=True)


def test_late_scores_are_those_of_plain_loops():
    generator = torch.Generator().manual_seed(0)

    def items(*lengths):
        rows = [torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in lengths]
        return [torch.nn.functional.normalize(row, dim=-1).tolist() for row in rows]

    queries, documents = items(3, 1, 2), items(2, 5, 1, 4)
    expected = [[sum(max(dot(q, d) for d in b) for q in a) for b in documents] for a in queries]
    found = late_scores(padded(queries), padded(documents))
    assert found.tolist() == [pytest.approx(row) for row in expected]


def test_padded_document_tokens_never_win():
    query, document = [[1.0, 0.0]], [[-0.6, 0.8]]
    company = [[-1.0, 0.0], [-0.8, 0.6], [-0.6, 0.8]]  # so long that the document is padded
    assert late_scores(padded([query]), padded([document, company])).tolist() == [[-0.6, -0.6]]


def test_padded_query_tokens_add_nothing():
    short, long = [[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]
    documents = padded([[[-1.0, 0.0]], [[0.6, 0.8]]])
    alone = late_scores(padded([short]), documents)[0]
    assert late_scores(padded([short, long]), documents)[0].tolist() == alone.tolist() == [-1.0, 0.6]


def test_late_scores_have_finite_gradients_where_items_are_padded():
    query = padded([[[1.0, 0.0]], [[0.0, 1.0], [0.6, 0.8]]]).requires_grad_()
    document = padded([[[0.6, -0.8]], [[0.0, 1.0], [1.0, 0.0]]]).requires_grad_()
    late_scores(query, document).sum().backward()
    assert torch.isfinite(query.grad).all() and torch.isfinite(document.grad).all()
    assert not query.grad[0, 1].any() and not document.grad[0, 1].any()


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


def test_cosent_is_that_of_sentence_transformers():
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    generator = torch.Generator().manual_seed(0)
    a, b = torch.nn.functional.normalize(torch.randn(2, 9, 8, generator=generator), dim=-1)
    grades = torch.tensor([0.0, 5, 2, 2, 3, 0, 1.5, 5, 4])
    expected = CoSENTLoss(torch.nn.Identity(), scale=20.0).compute_loss_from_embeddings([a, b], grades)
    assert cosent((a * b).sum(-1), grades, 1 / 20).item() == pytest.approx(expected.item(), abs=1e-5)


# -- pictures and their captions ---------------------------------------------------------------------------

IMAGE = [[1.0, 0.0], [0.0, 1.0]]
CAPTIONS = [[0.8, 0.6], [0.6, 0.8]]  # cosine .96: each a negative of the other
# The second is .993 to the second caption, .92 to the first.
QUEUE = [[-1.0, 0.0], [0.5, 0.75**0.5], [0.0, -1.0]]
EACH_ITS_OWN = torch.eye(2)


def own_share(own, negatives):
    return exp(own / 0.5) / (exp(own / 0.5) + sum(exp(score / 0.5) for score in negatives))


def test_caption_nce_leaves_out_captions_close_to_the_positive():
    rows = log(own_share(0.8, [0.6, -1.0, 0.5, 0.0])) + log(own_share(0.8, [0.6, 0.0, -1.0]))
    columns = 2 * log(own_share(0.8, [0.6]))
    found = caption_nce(*map(torch.tensor, (IMAGE, CAPTIONS)), EACH_ITS_OWN, torch.tensor(QUEUE), 0.5)
    assert found.item() == pytest.approx(-(rows + columns) / 4, abs=1e-6)


def test_caption_nce_counts_every_caption_of_a_picture_as_its_own():
    one = torch.tensor([[1.0, 0.0]])
    owner = torch.tensor([[0.5, 0.5]])
    found = caption_nce(one, torch.tensor(CAPTIONS), owner, torch.tensor(QUEUE)[:1], 0.5)
    rows = (log(own_share(0.8, [0.6, -1.0])) + log(own_share(0.6, [0.8, -1.0]))) / 2
    assert found.item() == pytest.approx(
        -rows / 2, abs=1e-6
    )  # no other picture could be meant: columns cost nothing


def test_caption_nce_does_not_ask_a_caption_for_one_of_two_pictures_that_it_fits():
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert caption_nce(same, same, EACH_ITS_OWN, torch.zeros(0, 2), 0.5).item() == pytest.approx(0, abs=1e-6)


def test_caption_nce_without_negatives_is_zero():
    one = torch.tensor([[0.6, 0.8]])
    assert caption_nce(one, one, torch.ones(1, 1), torch.zeros(0, 2), 0.07).item() == 0
