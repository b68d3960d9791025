"""What is said of a bridged model: the table of its recall, and the card of its bundle."""

from collections.abc import Mapping
from typing import Any

from unbraid.adopt.adopted import Bridged, Recall


def recall_table(name: str, kept: Recall) -> str:
    """A table of what searches find, by who encodes questions and texts."""
    rows = [
        ("the starter", "the starter", kept.starter),
        (f"{name}, its own space", f"{name}, its own space", kept.model),
        (f"{name}, bridged", f"{name}, bridged", kept.bridged),
        (f"{name}, bridged", "the starter", kept.model_asks),
        ("the starter", f"{name}, bridged", kept.starter_asks),
    ]
    lines = [f"| {asks} | {holds} | {share:.3f} |" for asks, holds, share in rows]
    return "\n".join(["| questions by | texts by | recall@10 |", "| --- | --- | ---: |", *lines])


def bridged_lines(made: Bridged) -> list[str]:
    """What a user has to know of a bridge, a paragraph each."""
    return [
        f"The map was fitted on {made.fitted_on:,} texts and words ({made.source}).",
        f"First sentences as questions for the rest of their text, among {made.recall.texts:,} held-out texts:",
        recall_table(made.name, made.recall),
        *made.notes,
    ]


def bridge_card(about: Mapping[str, Any], origin: Mapping[str, Any], made: Bridged) -> str:
    """README.md of a copy of the bundle `origin` with a bridged tier."""
    parts = [
        f"# {about['name']}",
        (
            f"The bundle {origin['name']} {origin['version']} with one more tier, `{made.tier}`: {made.name} and a linear map into "
            f"the space of {origin['name']}. The tier reads English texts and code, the tiers of {origin['name']} other "
            "languages, and its tower pictures. Both search one index."
        ),
        "## What the bridge keeps",
        *bridged_lines(made),
        "## Licence\n\n" + "\n".join(f"- {name}: {one}" for name, one in about["licences"].items()),
        f"Base space `{about['base_id']}`, that of {origin['name']}; bundle `{about['id']}`.",
    ]
    return "\n\n".join(parts) + "\n"
