"""The card of an adopted bundle: what it is, what it keeps of the model, and how it is used."""

from collections.abc import Mapping
from typing import Any

from unbraid.adopt.adopted import Adopted


def card(about: Mapping[str, Any], made: Adopted, sizes: Mapping[str, int]) -> str:
    """README.md of the bundle that `about` describes; `sizes` are the bytes of its graphs and tokenizers by file."""
    parts = [
        f"# {about['name']} {about['version']}",
        (
            f"An unbraid bundle made from {about['name']} by `unbraid adopt`: the model's own encoder for "
            f"{', '.join(about['modalities'])} in {about['dim']} dimensions, as ONNX graphs for a CPU. Nothing was "
            "trained."
        ),
        (
            '```python\nimport unbraid\n\nmodel = unbraid.load("path/to/this/folder")\n'
            'model.encode(["a text", unbraid.Code("def f(): ...")], task="document")\n```'
        ),
        "## What it keeps\n\n" + "\n".join(f"- {line}" for line in kept(made)),
        "## Files\n\n| file | MB |\n| --- | ---: |\n"
        + "\n".join(f"| {name} | {size / 1e6:.1f} |" for name, size in sizes.items()),
        "## Licence\n\n" + "\n".join(f"- {name}: {one}" for name, one in about["licences"].items()),
        (
            f"Base space `{about['base_id']}`, bundle `{about['id']}`. Vectors of another base space must not be mixed "
            "with this one's."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def kept(made: Adopted) -> list[str]:
    """What the bundle keeps of the model, a sentence each."""
    lines = [
        f"{one.graph}: {one.cases} {'pictures' if one.graph.startswith('image') else 'texts'}, largest difference {one.largest_difference:.1e}, least cosine "
        f"{one.least_cosine:.4f}"
        for one in made.parities
    ]
    if made.image:
        kept_by = f"{made.image.tried:.1%} of the ten nearest drawings of a sample"
        offered = "int8 keeps" if made.image.agreement is not None else "int8 is not offered: it would keep"
        lines.append(f"pictures: {offered} {kept_by}")
    for name, graphs in (("", made.text), ("queries: ", made.query)):
        if graphs and graphs.agreement is not None:
            lines.append(f"{name}int8 keeps {graphs.agreement:.1%} of the ten nearest texts of the sample")
        elif graphs:
            best = max(graphs.tried.values())
            lines.append(
                f"{name}int8 is not offered: it would keep {best:.1%} of the ten nearest texts of the sample"
            )
    if made.cost:
        lines.append(
            f"PCA to {made.dim} dimensions keeps {made.cost.agreement:.1%} of the ten nearest texts and "
            f"{made.cost.energy:.1%} of the squared length, on texts that the fit did not see"
        )
    return [*lines, *made.notes]
