"""The model card of a bundle, from the records of its training and its scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unbraid.export.parity import Parity

_NO_MIXING = "Vectors of another base space must not be mixed with this one's."


def card(
    about: Mapping[str, Any],
    recipe: Mapping[str, Any],
    record: Mapping[str, Any],
    parities: Sequence[Parity],
    run: Path,
    sizes: Mapping[str, int],
) -> str:
    """README.md of the bundle that `about` describes; `record` is the text encoder's training record.

    `sizes` are the bytes of its graphs and tokenizers by file.
    """
    parts = [
        *_opening(about),
        (
            '```python\nimport unbraid\n\nmodel = unbraid.load("path/to/this/folder")\n'
            'base = model.encode(["a text", unbraid.Code("def f(): ...")])\nmodel.map(base, "query")\n```'
        ),
        "## Scores\n\n" + _scores(about["scores"]),
        "## How it was made\n\n" + _making(recipe, record, run),
        "## Limits\n\n" + _limits(about, recipe),
        "## Files\n\n" + _files(sizes),
        "## Graph against torch\n\n" + _parity(parities),
        "## Data and licences\n\n" + _licences(about["licences"]),
        (
            f"Base space `{about['base_id']}`, bundle `{about['id']}`, unbraid commit `{record['commit']}`. "
            + _NO_MIXING
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _opening(about: Mapping[str, Any]) -> list[str]:
    return [
        f"# {about['name']} {about['version']}",
        "An unbraid bundle: small encoders for "
        + ", ".join(about["modalities"])
        + f" that put an item at one point of a {about['dim']}-d base space, and mappers that turn its vector "
        f"into a {', '.join(about['mappers'])} vector. It runs on a CPU with onnxruntime; no torch.",
    ]


def _scores(scores: Mapping[str, Any]) -> str:
    tables = scores.get("tables", {})
    if not tables:
        return "Not measured yet: `unbraid evaluate DATASET... --model BUNDLE --record FILE`, then export again with `--scores FILE`."
    return "\n\n".join(f"{text}\n\n`{command}`" for command, text in tables.items())


def _limits(about: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """The recipe's limits, the languages, and the limit on the length of texts."""
    tiers = {"small": about["modalities"], **about.get("tiers", {})}
    texts = {tier: specs["text"] for tier, specs in tiers.items() if "text" in specs}
    lines = [*recipe["limits"]]
    for languages in dict.fromkeys(tuple(spec.get("languages", ())) for spec in texts.values()):
        if languages:
            names = ", ".join(tier for tier, spec in texts.items() if tuple(spec["languages"]) == languages)
            lines.append(
                f"Trained languages of {names}: {', '.join(languages)}. Texts in others get a vector from what the "
                "backbone had learned of them, if anything."
            )
    lengths = sorted({spec["max_tokens"] for spec in texts.values()})
    lines.append(
        f"At most {' or '.join(map(str, lengths))} word pieces of a text are read; `encode` counts the texts it cuts."
    )
    return "\n".join(f"- {line}" for line in lines)


def _making(recipe: Mapping[str, Any], record: Mapping[str, Any], run: Path) -> str:
    members = " + ".join(f"{weight:g} {name}" for name, weight in recipe["members"].items())
    lines = [
        (
            f"- Teacher: {recipe['teacher'] or members}; {record['results']['items']:,} items labelled once, "
            f"{record['results']['energy kept by base']:.2%} of the vectors' energy kept by the base space."
        ),
    ]
    for tier, text in recipe["text"].items():
        split = "; camelCase names of code are split" if text["split_identifiers"] else ""
        lines.append(
            f"- Tier {tier} of text and code: {_kept(text)}, the mean hidden states of the last "
            f"{text['pooled_layers']}, projection to 512, {sum(text['epochs'])} epochs in {len(text['epochs'])} cosine "
            f"cycle(s){split}."
        )
    if (run / "nano" / "record.json").exists():
        made = json.loads((run / "nano" / "record.json").read_text())
        nano = made["recipe"]["nano"]
        lines.append(
            f'- Nano tier (`unbraid.load(..., tier="nano")`): a static table of {nano["width"]} numbers a token '
            f"in the same base space, closed form and then {nano['epochs']} epochs on the same labels, held-out "
            f"cosine to the targets {made['results']['held-out cosine']:.3f}. It searches what the other English tiers have indexed, and they what it has."
        )
    if (run / "image" / "record.json").exists():
        lines.append(_image(recipe, "random"))
    for mode, mapper in recipe["mapper"].items():
        lines.append(
            f"- Mapper {mode}: {mapper['kind']}, {mapper['loss']} loss, on {', '.join(mapper['files'])}."
        )
    return "\n".join(lines)


def _image(recipe: Mapping[str, Any], start: str) -> str:
    """How the tower was made; `start` names its first weights if they are not published ones."""
    image = recipe["image"]
    weights = "published" if recipe.get("tower_licence") else start
    second = ""
    if kinds := (image.get("second") or {}).get("kinds"):
        second = f", then {image['second']['steps']:,} steps on {sum(kinds.values()):,} drawings of {len(kinds)} kinds"
    return (
        f"- Image: {image['tower']} at {image.get('used_size') or image['size']} px from {weights} weights, {image['epochs']} epochs over "
        f"{len(image['photos'])} picture sets and {image['drawings']:,} drawings{second}, against the captions' base vectors; "
        "the pictures' mean vector is removed."
    )


def card_with_tower(
    text: str,
    origin: Mapping[str, Any],
    about: Mapping[str, Any],
    recipe: Mapping[str, Any],
    commit: str,
    parities: Sequence[Parity],
    sizes: Mapping[str, int],
) -> str:
    """The card of a bundle `about` that is `origin`, whose card is `text`, with another image tower.

    What it says of texts stays. Limits are the recipe's where it states any, else the old card's.
    """
    head, *sections = text.rstrip("\n").split("\n\n## ")
    old = dict(section.split("\n\n", 1) for section in sections)
    origin_name = f"{origin['name']} {origin['version']}"
    start = f"{origin_name}'s" if recipe["image"]["start"] == "bundle" else "random"
    making = [line for line in old["How it was made"].split("\n") if not line.startswith("- Image:")]
    new = {
        "Scores": _scores(about["scores"]),
        "How it was made": "\n".join([*making, _image(recipe, start)]),
        "Limits": _limits(about, recipe) if recipe["limits"] else old["Limits"],
        "Files": _files(sizes),
        "Graph against torch": _parity(parities),
        "Data and licences": _licences(about["licences"]),
    }
    body = [f"## {title}\n\n{section}" for title, section in (old | new).items()]
    opening = "\n\n".join([*_opening(about), *head.split("\n\n")[2:]])
    ids = (
        f"Base space `{about['base_id']}`, bundle `{about['id']}`: {origin_name} (`{origin['id']}`) with an image "
        f"tower of its own, unbraid commit `{commit}`. {_NO_MIXING}"
    )
    return "\n\n".join([opening, *body, ids]) + "\n"


def card_with_heads(
    text: str,
    origin: Mapping[str, Any],
    about: Mapping[str, Any],
    recipe: Mapping[str, Any],
    parities: Sequence[Parity],
    sizes: Mapping[str, int],
) -> str:
    """The card of a bundle `about` that is `origin`, whose card is `text`, with multi-vector heads."""
    head, *sections = text.rstrip("\n").split("\n\n## ")
    old = dict(section.split("\n\n", 1) for section in sections)
    heads = _heads(recipe)
    same = heads.split(":")[0] + ":"
    making = [line for line in old["How it was made"].split("\n") if not line.startswith(same)]
    new = {
        "Scores": _scores(about["scores"]),
        "How it was made": "\n".join([*making, heads]),
        "Files": _files(sizes),
        "Graph against torch": _parity(parities),
        "Data and licences": _licences(about["licences"]),
    }
    body = [f"## {title}\n\n{section}" for title, section in (old | new).items()]
    opening = "\n\n".join([*_opening(about), *head.split("\n\n")[2:]])
    ids = text.rstrip("\n").rpartition("\n\n")[2].replace(f"`{origin['id']}`", f"`{about['id']}`")
    return "\n\n".join([opening, *body, ids]) + "\n"


def _heads(recipe: Mapping[str, Any]) -> str:
    config = recipe["head"]
    files = len(config["texts"]) + len(config["code"])
    layer = "one more transformer layer on" if config["inner"] or config["hidden"] else "a projection of"
    stored = f" An index stores those of {recipe['look_tier']}." if recipe["look_tier"] else ""
    return (
        f"- Multi-vectors of {' and '.join(config['tiers'])}: {layer} frozen token states, to {config['dim']} numbers a token; "
        f"{config['steps']:,} steps over pairs of {files} files, so that late interaction adds to what base vector and words "
        f"find.{stored}"
    )


def _files(sizes: Mapping[str, int]) -> str:
    lines = [f"| {name} | {size / 1e6:.1f} |" for name, size in sizes.items()]
    return "\n".join(
        ["| file | MB |", "| --- | ---: |", *lines, f"| all of them | {sum(sizes.values()) / 1e6:.1f} |"]
    )


def _parity(parities: Sequence[Parity]) -> str:
    head = "| graph | input shapes | largest difference | mean cosine | least cosine |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join(
        f"| {p.graph} | {p.cases} | {p.largest_difference:.1e} | {p.mean_cosine:.5f} | {p.least_cosine:.5f} |"
        for p in parities
    )


def _licences(licences: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {licence}" for name, licence in licences.items())


def _kept(text: dict[str, Any]) -> str:
    """Which layers and neurons of which backbone the student of a recipe's [text] has."""
    layers = f"layers {text['layers']}" if text["layers"] else "all layers"
    neurons = f", {text['feed_forward']:,} neurons in each" if text["feed_forward"] else ""
    return f"{layers} of {text['backbone']}{neurons}"
