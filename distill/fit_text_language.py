"""Fit the language detector of src/unbraid/runtime/text_language.py to training texts, and measure it.

    python -m unbraid.distill.fit_text_language DATA OUT.npz

Every language has as many windows, whole texts or a few words of one, because queries are short. The accuracy is that
of held-out rows: whole, and cut to three words and to one.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unbraid.distill.data.item_sources import SOURCES, language_tag
from unbraid.io.atomic import write_atomic
from unbraid.io.jsonl import read_rows
from unbraid.runtime.text_language import (
    MODELED,
    SHARED_SCRIPTS,
    LanguageModel,
    detect_surely,
    gram_buckets,
    read_model,
    script_of,
)
from unbraid.training.data_split import is_dev

WINDOWS = 8000  # of a language
ENGLISH_WINDOWS = 5  # times as many: English is what is routed, and its mistakes cost most
SHARED_WORDS = 0.6  # a row whose sides have more words in common than this share is not translated
SEED = 17


def language_rows(folder: Path, *, dev: bool) -> dict[str, list[str]]:
    """Texts of every language in MODELED from the training sources, the rows of the dev part or all others."""
    found: dict[str, list[str]] = {language: [] for language in MODELED}
    scripts = {language: script for script, names in SHARED_SCRIPTS.items() for language in names}
    for source in SOURCES:
        if source.group == "code":
            continue
        for line in read_rows(folder / f"{source.file}.jsonl.gz"):
            row = line.row
            if is_dev(row) != dev or not source.keep(row):
                continue
            english = str(row.get(source.english) or "") if source.english else ""
            language = (
                language_tag(str(row.get("lang") or "")) if source.language == "row" else source.language
            )
            texts = [(language, str(row.get(name) or "")) for name in source.text]
            for language, text in [*texts, ("en", english)]:
                if language not in found or not text or script_of(text) != scripts[language]:
                    continue
                if language == "en" or not english or not _untranslated(text, english):
                    found[language].append(text)
    return {language: list(dict.fromkeys(texts)) for language, texts in found.items()}


def fit(
    texts: dict[str, list[str]],
    *,
    buckets: int,
    width: int,
    steps: int = 4000,
    batch: int = 256,
    most: int = WINDOWS,
) -> LanguageModel:
    """The linear model, its vectors of `width` dimensions, fitted to `most` windows of each language's texts.

    Cross-entropy among the languages of a text's own script; Adam, its rate falling to 0.
    """
    rng = random.Random(SEED)
    torch.manual_seed(SEED)
    pool = {
        name: _grams(own, most * (ENGLISH_WINDOWS if name == "en" else 1), buckets, rng)
        for name, own in texts.items()
        if own
    }
    names = list(pool)
    weights = [len(set(texts[name])) ** 0.3 * (4 if name == "en" else 1) for name in names]
    table, head = nn.EmbeddingBag(buckets, width, mode="mean"), nn.Linear(width, len(MODELED))
    nn.init.normal_(table.weight, std=0.3)
    optimizer = torch.optim.Adam([*table.parameters(), *head.parameters()], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    allowed = _same_script()
    for _ in range(steps):
        chosen = rng.choices(names, weights, k=batch)
        truth = torch.tensor([MODELED.index(name) for name in chosen])
        logits = head(table(*_bag([rng.choice(pool[name]) for name in chosen]))) + allowed[truth]
        loss = nn.functional.cross_entropy(logits, truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return LanguageModel(*(part.detach().numpy() for part in (table.weight, head.weight, head.bias)))


def write_model(path: Path, model: LanguageModel) -> int:
    """Write the model with its table in 8 bits, a scale a dimension; returns the file's bytes."""
    scale = np.abs(model.table).max(axis=0) / 127
    content = BytesIO()
    np.savez_compressed(
        content,
        table=np.round(model.table / scale).astype(np.int8),
        scale=scale.astype(np.float32),
        rows=model.rows.astype(np.float16),
        bias=model.bias.astype(np.float16),
    )
    write_atomic(path, content.getvalue())
    return len(content.getvalue())


def accuracy(model: LanguageModel, texts: dict[str, list[str]], *, words: int = 0) -> dict[str, float]:
    """Share of each language's texts that are told right: whole, or `words` successive words of them."""
    found = {}
    for language, own in texts.items():
        asked = list(windows(own, words)) if words else own
        if asked:
            right = sum(detect_surely(text, model)[0] == language for text in asked)
            found[language] = round(right / len(asked), 3)
    return found


def windows(texts: Sequence[str], words: int, *, seed: int = SEED) -> Iterator[str]:
    """`words` successive words of each text that has as many."""
    rng = random.Random(seed)
    for text in texts:
        parts = text.split()
        if len(parts) >= words:
            start = rng.randrange(len(parts) - words + 1)
            yield " ".join(parts[start : start + words])


def _grams(texts: Sequence[str], most: int, buckets: int, rng: random.Random) -> list[np.ndarray]:
    """Buckets of `most` windows of `texts`, drawn again and again where there are fewer texts; none without letters."""
    found = (gram_buckets(_window(rng.choice(texts), rng), buckets) for _ in range(most))
    return [grams.astype(np.int32) for grams in found if len(grams)]


def _window(text: str, rng: random.Random) -> str:
    """The text, or a few of its words: a third each of whole texts, one to three words and four to eight."""
    parts = text.split()
    kind = rng.random()
    if kind < 1 / 3 or len(parts) < 2:
        return text
    count = rng.randint(1, 3) if kind < 2 / 3 else rng.randint(4, 8)
    start = rng.randrange(max(1, len(parts) - count + 1))
    return " ".join(parts[start : start + count])


def _untranslated(text: str, english: str) -> bool:
    """Whether most words of a translation are English ones left as they were."""
    words = text.lower().split()
    known = set(english.lower().split())
    return sum(word in known for word in words) > SHARED_WORDS * len(words)


def _bag(grams: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    offsets = np.cumsum([0, *(len(one) for one in grams[:-1])])
    return torch.from_numpy(np.concatenate(grams)).long(), torch.from_numpy(offsets)


def _same_script() -> Tensor:
    """0 for languages of one script, minus infinity for others: float32 [languages, languages]."""
    allowed = torch.full((len(MODELED), len(MODELED)), -torch.inf)
    for names in SHARED_SCRIPTS.values():
        own = [MODELED.index(name) for name in names]
        for row in own:
            allowed[row, own] = 0
    return allowed


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, write, and print the accuracy of every language as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--buckets", type=int, default=4096)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--steps", type=int, default=4000)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = fit(
        language_rows(given.data, dev=False), buckets=given.buckets, width=given.width, steps=given.steps
    )
    size = write_model(given.out, model)
    sys.stdout.write(json.dumps({"bytes": size, "buckets": given.buckets, "width": given.width}) + "\n")
    stored, held_out = read_model(given.out.read_bytes()), language_rows(given.data, dev=True)
    for words in (0, 3, 1):
        row = {"words": words or "all", **accuracy(stored, held_out, words=words)}
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
