"""The card of trained adapters: what they are, what chose them, what they were trained on."""

import json
from pathlib import Path

from unbraid.teacher.adapters.adapter_recipe import Recipe

TEXT = """# {name} {version}: adapters on {backbone}

Three LoRA adapters of rank {rank} on the frozen backbone, in the layout of jina-embeddings-v4: one file, the tasks
interleaved. The recipe follows its paper (arXiv 2506.18902): one adapter on pairs, then a copy for each task.

```python
from unbraid.teacher import load

teacher = load("path/to/this/folder")
teacher.encode(["a question", "another"], "query")  # also document, symmetric, code
```

{sentences}
## What chose them

Whole sources that were never trained on. The step and the scale kept are those with the largest mean gain among
those that lose on no source more than {tolerance} (nDCG@10; Spearman for graded pairs; at most 150 queries among 500).

{held_out}
## Scores

{scores}
## Data

{data}
Made by `unbraid train teacher fit` from the recipe in recipe.json, unbraid commit {commit}.
"""


def adapter_card(recipe: Recipe, run: Path, *, scores: str) -> str:
    """The card as Markdown, from the records of the stages in `run`; `scores` are tables with their commands."""
    records = {name: json.loads((run / name / "record.json").read_text()) for name in recipe.stages}
    licence = {source.name: source.licence for source in recipe.source}
    trained = {file for stage in recipe.stages.values() for file in stage.sources}
    chose = {file for stage in recipe.stages.values() for file in stage.held_out}
    data = [f"- {name}, trained on: {licence[name]}" for name in licence if name in trained]
    data += [f"- {name}, held out: {licence[name]}" for name in licence if name in chose]
    return TEXT.format(
        name=recipe.name,
        version=recipe.version,
        backbone=recipe.backbone,
        rank=recipe.rank,
        sentences="".join(f"- {sentence}\n" for sentence in recipe.card),
        tolerance=recipe.tolerance,
        held_out=_held_out({name: record["results"] for name, record in records.items()}),
        scores=scores or "Not measured: `unbraid train teacher score` does it.\n",
        data="\n".join(data) + "\n",
        commit=records[next(iter(recipe.task))]["commit"],
    )


def _held_out(results: dict[str, dict]) -> str:
    """A table row for each held-out source of each adapter."""
    lines = [
        "| adapter | step, scale | held-out source | unadapted | adapted | gain |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for name, result in results.items():
        kept = result.get("kept", {})
        for source, score in kept.get("scores", {}).items():
            before = result["unadapted"][source]
            step = f"{kept['step']}, {kept['scale']}"
            lines.append(
                f"| {name} | {step} | {source} | {before:.3f} | {score:.3f} | {score - before:+.3f} |"
            )
    return "\n".join(lines) + "\n"
