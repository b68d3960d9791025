"""`unbraid doctor`: facts about this machine, and the precision that runs fastest on it."""

import json
from dataclasses import asdict

import typer

from unbraid.cli.options import AsJson, Model, Tier, show
from unbraid.loading import load


def doctor(model: Model = None, tier: Tier = None, as_json: AsJson = False) -> None:
    """Show cores, instruction sets and versions, verify the bundle, and time its graphs in each precision."""
    from unbraid.runtime.doctor import fastest, machine, speeds

    about, embedder = machine(), load(model, tier=tier)
    found = speeds(embedder)
    best = {graph: fastest(found, graph) for graph in dict.fromkeys(speed.graph for speed in found)}
    if as_json:
        typer.echo(json.dumps({**about, "speeds": [asdict(speed) for speed in found], "fastest": best}))
        return
    show({**about, "bundle": f"{embedder.name}: every file verified"}, as_json, width=23)
    for speed in found:
        rates = ", ".join(f"{rate:,.0f}/s at {kind}" for kind, rate in speed.items_per_s.items())
        rivals = sum(other.graph == speed.graph for other in found) > 1
        mark = " (fastest here)" if rivals and best[speed.graph] == speed.precision else ""
        only = "" if rivals else f" (the bundle has no other precision of {speed.graph})"
        typer.echo(f"{speed.graph + ' ' + speed.precision:23s}{rates} on one core{mark}{only}")
