import random

import numpy as np

from unbraid.distill.fit_text_language import accuracy, fit, windows, write_model
from unbraid.runtime.text_language import MODELED, detect_surely, read_model

WORDS = {
    "en": "the of and is with from this that",
    "de": "der die und ist mit von das nicht",
    "ru": "и не что это как на он она",
}


def sentences(language, count=60):
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS[language].split(), k=6)) for _ in range(count)]


def test_a_fitted_model_tells_languages_and_comes_back_from_its_file(tmp_path):
    texts = {language: sentences(language) for language in WORDS}
    model = fit(texts, buckets=512, width=8, steps=300, batch=64, most=100)
    size = write_model(tmp_path / "model.npz", model)
    stored = read_model((tmp_path / "model.npz").read_bytes())
    assert size == (tmp_path / "model.npz").stat().st_size
    assert stored.table.shape == (512, 8) and stored.rows.shape == (len(MODELED), 8)
    assert np.abs(stored.table - model.table).max() <= np.abs(model.table).max() / 200
    assert accuracy(stored, texts) == {"en": 1.0, "de": 1.0, "ru": 1.0}
    assert detect_surely("der und die", stored)[0] == "de"


def test_windows_are_successive_words_and_short_texts_have_none():
    found = list(windows(["a b c d", "one"], 2))
    assert len(found) == 1 and found[0] in {"a b", "b c", "c d"}
