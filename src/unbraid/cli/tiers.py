"""What `unbraid info` and `unbraid index stats` say of tiers and languages."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unbraid.bundle import Bundle
from unbraid.runtime.routing import ENGLISH, trained_languages

if TYPE_CHECKING:  # loads Qdrant Edge
    from unbraid.index.index import Stats


def languages_of(bundle: Bundle) -> str:
    """The languages that each tier was trained on."""
    stated = {tier: next(iter(specs.values())).languages for tier, specs in bundle.tiers.items()}
    if not any(stated.values()):
        return "not stated"
    trained = "; ".join(f"{tier} {' '.join(known) or 'not stated'}" for tier, known in stated.items())
    return f"trained: {trained}. Every other: inherited or none, its vectors may be poor"


def prompts_of(bundle: Bundle) -> dict[str, str]:
    """What each tier puts before a text, under "prompts"; {} where none does."""
    stated = {tier: next(iter(specs.values())).prefix for tier, specs in bundle.tiers.items()}
    found = [f"{tier} {json.dumps(prefix, ensure_ascii=False)}" for tier, prefix in stated.items() if prefix]
    return {"prompts": "; ".join(found)} if found else {}


def default_tiers(bundle: Bundle) -> str:
    """Which tier reads what where the caller names none."""
    found = f"{bundle.document_tier} for documents, {bundle.query_tier} for queries"
    trained = trained_languages(bundle)
    if not trained:
        return found
    others = [tier for tier, known in trained.items() if set(known) - {ENGLISH}]
    return f"in English {found}; other languages {', '.join(others)}"


def encoded_by(stats: "Stats") -> str:
    """How many chunks each tier has encoded."""
    texts = sum(count for kind, count in stats.chunks.items() if kind != "image")
    unknown = texts - sum(stats.tiers.values())
    parts = [f"{count:,} chunks {tier}" for tier, count in stats.tiers.items()]
    return ", ".join(parts + [f"{unknown:,} chunks not recorded"] * (unknown > 0)) or "none"


def written_in(text_languages: Mapping[str, int], trained: Sequence[str]) -> str:
    """How many chunks are in which language besides English; those that no tier was trained on are flagged."""
    return ", ".join(
        f"{count:,} chunks {language}{' (not trained)' * bool(trained and language not in trained)}"
        for language, count in text_languages.items()
    )
