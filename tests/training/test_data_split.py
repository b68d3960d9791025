import gzip
import json

import pytest

from unbraid.training.data_split import is_dev, train_rows

DEV_OF_300 = [213, 217, 227]


@pytest.fixture
def pairs(tmp_path):
    """300 pairs, of which about 1 in 50 are dev."""
    path = tmp_path / "pairs.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({"anchor": f"q {n}", "positive": f"d {n}"}) + "\n" for n in range(300))
    return path


def test_about_one_row_in_fifty_is_dev():
    assert 300 < sum(is_dev({"text": f"text {number}"}) for number in range(20_000)) < 500


def test_whether_a_row_is_dev_depends_only_on_its_first_text():
    for number in range(200):
        anchor = f"question {number}"
        expected = is_dev({"anchor": anchor})
        assert is_dev({"anchor": anchor, "positive": "x", "score": number}) == expected
        assert is_dev({"a": anchor, "b": "y"}) == is_dev({"query": anchor}) == expected


def test_the_dev_split_never_changes():
    """Scores of one version are comparable with the next one's only while the split stays."""
    assert [number for number in range(300) if is_dev({"anchor": f"q {number}"})] == DEV_OF_300


def test_pictures_are_dev_by_their_split():
    assert is_dev({"file": "a.jpg", "split": "dev"})
    assert not is_dev({"file": "a.jpg", "split": "train"})


def test_a_lone_surrogate_does_not_stop_the_split():
    assert isinstance(is_dev({"text": "\ud800"}), bool)


def test_dev_rows_are_never_training_rows(pairs):
    kept = train_rows(pairs)
    assert not any(is_dev(row) for row in kept)
    assert len(kept) == 300 - len(DEV_OF_300)


def test_a_limit_takes_a_sample_that_the_seed_decides(pairs):
    sample = train_rows(pairs, limit=20, seed=1)
    assert len(sample) == 20
    assert sample == train_rows(pairs, limit=20, seed=1) != train_rows(pairs, limit=20, seed=2)


def test_a_limit_above_the_rows_takes_them_all(pairs):
    assert train_rows(pairs, limit=10_000) == train_rows(pairs)
