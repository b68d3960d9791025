"""Items of a joined teacher, in an order whose every prefix is a balanced sample of languages, code and sources.

All items of a row stay together: a description beside its snippet, a translation beside its English side.
"""

import gzip
import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

from unbraid.distill.data.item_sources import (
    ENGLISH,
    HELD_OUT,
    SOURCES,
    STSB_LANGUAGES,
    Group,
    ItemSource,
    Row,
    language_tag,
)
from unbraid.distill.data.training_items import TrainingItem, field_text, sentences
from unbraid.io.atomic import write_atomic
from unbraid.io.jsonl import read_rows
from unbraid.training.data_split import is_dev

SEED = 17
# Shares of the groups in every prefix, until a group has no more rows.
SHARES: dict[Group, float] = {"english": 0.32, "code": 0.20, "foreign": 0.48}
FLATTEN = 0.35  # a language's or file's share is its rows to this power: 1 counts rows, 0 makes all alike
LONGEST = 3000  # characters of an item; no member reads on after 512 tokens


def joined_items(folder: Path) -> list[TrainingItem]:
    """The items of a joined teacher below `folder`, in order, translations with their English sides."""
    return with_english_sides(ordered_items(SOURCES, folder), folder)


def ordered_items(sources: Sequence[ItemSource], folder: Path, *, seed: int = SEED) -> list[TrainingItem]:
    """Distinct items of all `sources` below `folder`, in one seeded order, without any text of a dev set.

    Rows are drawn without replacement, each with a chance that depends on its group, its file or language and its
    source's weight (Efraimidis & Spirakis 2006), so a prefix has the shares that `SHARES` and `FLATTEN` say.
    Raises DataError for a file that cannot be read.
    """
    banned = held_out_texts(folder)
    strata: dict[tuple[Group, str], list[tuple[float, list[TrainingItem]]]] = {}
    for source in sources:
        for line in read_rows(folder / f"{source.file}.jsonl.gz"):
            row = line.row
            if is_dev(row) or not source.keep(row):
                continue
            for items in _row_items(source, row):
                if kept := [one for one in items if compared(one.text) not in banned]:
                    language = next((one.language for one in kept if one.language != ENGLISH), "")
                    stratum = (source.group, language or source.file)
                    strata.setdefault(stratum, []).append((source.weight, kept))
    shares = _shares(strata)
    rng = random.Random(seed)
    drawn: list[tuple[float, list[TrainingItem]]] = []
    for stratum in sorted(strata):
        total = sum(weight for weight, _ in strata[stratum])
        for weight, items in strata[stratum]:
            drawn.append((-math.log(1 - rng.random()) / (shares[stratum] * weight / total), items))
    drawn.sort(key=lambda one: one[0])
    distinct: dict[tuple[str, str], TrainingItem] = {}
    for _, items in drawn:
        for item in items:
            distinct.setdefault((item.modality, item.text), item)
    return list(distinct.values())


def held_out_texts(folder: Path) -> set[str]:
    """Texts of every dev set below `folder`, in the form of `compared`; sets that are not there are passed over."""
    found: set[str] = set()
    for held in HELD_OUT:
        path = folder / f"{held.file}.jsonl.gz"
        if not path.exists():
            continue
        fields = ("a", "b") if held.kind == "sts" else (held.query, held.document)
        for line in read_rows(path):
            if held.keep(line.row):
                found |= {compared(str(line.row.get(name) or "")) for name in fields}
    return found - {""}


def align_translations(english: Sequence[Row], foreign: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Rows of one graded file with their translations. Either file may lack rows, so they are aligned by their scores.

    Only runs of at least four rows with equal scores are taken: 96 % of the rows of STS-B.
    """
    scores = [[round(float(row["score"]), 3) for row in side] for side in (english, foreign)]
    for block in SequenceMatcher(None, scores[0], scores[1], autojunk=False).get_matching_blocks():
        if block.size >= 4:
            for step in range(block.size):
                yield english[block.a + step], foreign[block.b + step]


def with_english_sides(
    items: Iterable[TrainingItem], folder: Path, languages: Sequence[str] = STSB_LANGUAGES
) -> list[TrainingItem]:
    """`items` with the English sides of STS-B's sentences, whose translations stand in files of their own."""
    english = [line.row for line in read_rows(folder / "sts/stsb.en.train.jsonl.gz")]
    side: dict[tuple[str, str], str] = {}
    for language in languages:
        foreign = [line.row for line in read_rows(folder / f"sts/stsb.{language}.train.jsonl.gz")]
        for one, other in align_translations(english, foreign):
            for name in ("a", "b"):
                side.setdefault((language, str(other[name]).strip()), str(one[name]).strip())
    return [
        replace(one, english=side[key])
        if (key := (one.language, one.text)) in side and not one.english
        else one
        for one in items
    ]


def write_items(path: Path, items: Iterable[TrainingItem]) -> None:
    """Write `items` as gzip JSON lines, which `unbraid train label` reads; equal items give equal bytes."""
    lines = []
    for item in items:
        row = {
            item.modality: item.text,
            "anchor": item.anchor,
            "lang": item.language,
            "english": item.english,
        }
        lines.append(json.dumps({name: value for name, value in row.items() if value}, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, gzip.compress("\n".join([*lines, ""]).encode(), 6, mtime=0))


def _row_items(source: ItemSource, row: Row) -> Iterator[list[TrainingItem]]:
    """What is drawn together: all items of the row, and then each sentence on its own."""
    language = language_tag(str(row.get("lang") or "")) if source.language == "row" else source.language
    english = _cut(row, source.english) if source.english else ""
    items, parts = [], []
    if english:
        items.append(TrainingItem(english, "text"))
    for name in source.text:
        if (text := _cut(row, name)) and text != english:
            items.append(TrainingItem(text, "text", language=language, english=english))
            parts += [part for part in sentences(text) if part != text] if source.sentences else []
    for name in source.code:
        if text := _cut(row, name):
            anchor = _cut(row, "anchor") if name == "positive" and "anchor" in source.text else ""
            items.append(TrainingItem(text, "code", anchor))
    yield items
    for part in parts:
        yield [TrainingItem(part, "text", language=language)]


def _cut(row: Row, name: str) -> str:
    """A field as text of at most LONGEST characters."""
    return field_text(row, name)[:LONGEST].strip()


def compared(text: str) -> str:
    """A text as it is compared with held-out ones: letters and digits, lower case."""
    return "".join(character for character in text.casefold() if character.isalnum())


def _shares(
    strata: dict[tuple[Group, str], list[tuple[float, list[TrainingItem]]]],
) -> dict[tuple[Group, str], float]:
    """The share of each stratum in a prefix, counted in items: its group's by the flattened numbers of its rows."""
    size = {stratum: sum(weight for weight, _ in drawn) ** FLATTEN for stratum, drawn in strata.items()}
    whole = {group: sum(value for (other, _), value in size.items() if other == group) for group in SHARES}
    shares = {}
    for (group, name), value in size.items():
        drawn = strata[group, name]
        items = sum(len(one) for _, one in drawn) / len(drawn)  # a row of two items counts twice
        shares[group, name] = SHARES[group] * value / whole[group] / items
    return shares
