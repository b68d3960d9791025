import numpy as np
import torch

from unbraid.distill.data import encoded_items
from unbraid.distill.data.encoded_items import encode_items
from unbraid.distill.data.training_items import TrainingItem

ITEMS = [TrainingItem(f"item {number}", "code" if number % 3 == 0 else "text") for number in range(10)]


def by_length(calls):
    """Vectors [n, 2]: the number in a text, and whether it is code."""

    def to_base(texts, modality):
        calls.append((modality, len(texts)))
        return torch.tensor([[float(text.split()[1]), float(modality == "code")] for text in texts])

    return to_base


def test_targets_are_in_the_order_of_the_items_whatever_their_modality(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_items, "BLOCK", 4)
    found = encode_items(ITEMS, tmp_path, by_length([]), "one")
    expected = [[number, number % 3 == 0] for number in range(10)]
    np.testing.assert_array_equal(found.targets, np.array(expected, np.float16))
    assert found.items is ITEMS


def test_stored_blocks_are_encoded_once_and_another_tiers_are_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_items, "BLOCK", 4)
    calls = []
    encode_items(ITEMS[:4], tmp_path, by_length(calls), "one")
    first = len(calls)
    encode_items(ITEMS, tmp_path, by_length(calls), "one")
    assert sum(count for _, count in calls[first:]) == 6  # the first block was there
    calls.clear()
    encode_items(ITEMS, tmp_path, by_length(calls), "other")
    assert sum(count for _, count in calls) == 10
