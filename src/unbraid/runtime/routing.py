"""Which tier encodes a text. Its language decides, as the type of an item decides its modality."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from unbraid.bundle import Bundle
from unbraid.errors import ItemError

Side: TypeAlias = Literal["document", "query"]
ENGLISH = "en"
CODE = "code"
_CODE = re.compile("[a-z]{2,3}")


class Route(NamedTuple):
    """The tier that encodes an item, and the language of its text; "" for a picture, and where none was looked for."""

    tier: str
    language: str


def trained_languages(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """The languages that the text encoder of each tier was trained on; {} where every tier is English or says nothing."""
    found = {tier: specs["text"].languages for tier, specs in bundle.tiers.items() if "text" in specs}
    return found if {language for known in found.values() for language in known} - {ENGLISH} else {}


def tier_of(language: str, english: str, trained: Mapping[str, Sequence[str]]) -> str:
    """The tier for a text in `language`: `english` for English, else the first that was trained on the language.

    A language that none was trained on goes to the tier with the most languages, which knows its script or relatives
    best. `trained` is what `trained_languages` returns; where it is empty every text goes to `english`.
    """
    if language == ENGLISH or not trained:
        return english
    return next(
        (tier for tier, known in trained.items() if language in known),
        max(trained, key=lambda tier: len(trained[tier])),
    )


def query_side(tasks: tuple[str, str]) -> Side:
    """The side that the queries of a search mode are encoded as; `tasks` are that of its query and of its documents.

    Where both are one task, as in symmetric, a query is an item like the others, and each is nearest to itself. Code is the
    exception: its query is a question in words.
    """
    query, document = tasks
    return "document" if query == document != CODE else "query"


def check_language(language: str | None) -> None:
    """Raise ItemError unless `language` is None or has the form of a code."""
    if language is not None and not (isinstance(language, str) and _CODE.fullmatch(language)):
        raise ItemError(
            f"language {str(language)[:40]!r}: expected a code of two or three small letters, such as de or zh"
        )


def check_side(side: str | None) -> None:
    """Raise ItemError unless `side` is None or one of a search's two sides."""
    if side is not None and side not in get_args(Side):
        raise ItemError(f"side is {str(side)[:40]!r}: expected {' or '.join(map(repr, get_args(Side)))}")
