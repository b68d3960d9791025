from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.protocol import Scores
from unbraid.index.search.best_part import PartVectors, best_parts, parts_of, quick_nearness
from unbraid.index.store.bm25 import word_terms


def by_length(parts: list[str]) -> Scores:
    return np.asarray([float(len(part)) for part in parts])


def test_parts_are_lines_and_the_sentences_in_them() -> None:
    text = '# A title\n\nOne sentence. Another, of v1.2!  And "so"?\n数据库。连接失败。\n  x = f(a.b)\n'
    assert list(parts_of(text)) == [
        "# A title",
        "One sentence.",
        "Another, of v1.2!",
        'And "so"?',
        "数据库。",
        "连接失败。",
        "x = f(a.b)",
    ]


@given(st.text("ab. \n。", max_size=40))
def test_every_part_stands_in_a_line_and_together_they_are_the_text(text: str) -> None:
    parts = list(parts_of(text))
    assert all(any(part in line for line in text.split("\n")) for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_words_go_before_vectors_which_decide_between_equals() -> None:
    terms = word_terms("red kettle")
    texts = ["long words about nothing\na kettle\nthe red kettle", "a kettle\nthe kettle of tin\ntea", "\n"]
    assert best_parts(texts, terms, by_length, [True] * 3) == ["the red kettle", "the kettle of tin", ""]
    assert best_parts(texts, terms, None, [True] * 3) == ["the red kettle", "a kettle", ""]
    assert best_parts(texts, terms, by_length, [False] * 3) == ["the red kettle", "a kettle", ""]
    assert best_parts(["a\nbbb\ncc"], frozenset(), by_length, [True]) == ["bbb"]


def test_all_parts_are_encoded_at_once_and_none_where_words_decide() -> None:
    asked: list[list[str]] = []

    def nearness(parts: list[str]) -> Scores:
        asked.append(parts)
        return by_length(parts)

    best_parts(["a\nb", "c", "d\ne"], frozenset(), nearness, [True] * 3)
    assert asked == [["a", "b", "d", "e"]]
    best_parts(["red\nb", "c"], word_terms("red"), nearness, [True] * 2)
    assert len(asked) == 1


def test_parts_are_encoded_once_by_the_quickest_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[list[str]] = []

    class Nano:
        bundle = SimpleNamespace(tiers={"small": {}, "nano": {}})

        def encode(self, texts: list[str], **options: Any) -> Any:
            assert options == {"tier": "nano", "on_truncate": "ignore", "progress": False}
            encoded.append(texts)
            return np.asarray([[len(text), 1] for text in texts], np.float32)

        def map(self, base: Any, task: str) -> Any:
            assert task == "document"
            return base

    kept: PartVectors = {}
    nearness = quick_nearness(Nano(), "document", np.asarray([2, 1], np.float32), kept)
    assert nearness is not None and nearness(["a", "abc"]).tolist() == [3, 7]
    again = quick_nearness(Nano(), "document", np.asarray([1, 0], np.float32), kept)
    assert again is not None and again(["abc", "ab", "a", "ab"]).tolist() == [3, 2, 1, 2]
    assert encoded == [["a", "abc"], ["ab"]]
    monkeypatch.setattr("unbraid.index.search.best_part.KEPT", 2)
    assert again(["abcd", "ab"]).tolist() == [4, 2] and set(kept["document"]) == {"abcd", "ab"}
    assert quick_nearness(SimpleNamespace(), "document", np.zeros(2, np.float32), {}) is None
    small = SimpleNamespace(bundle=SimpleNamespace(tiers={"small": {}}))
    assert quick_nearness(small, "document", np.zeros(2, np.float32), {}) is None
