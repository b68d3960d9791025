"""`unbraid mapper`: fit a search mode on pairs, and show what a mapper file holds."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.cli.options import AsJson, Language, Model, Tier
from unbraid.custom_mapper.fit_mapper import fit_mapper
from unbraid.custom_mapper.mapper_file import IDENTITY, SUFFIX, CustomMapper, check_name, read_mapper
from unbraid.errors import DataError
from unbraid.loading import load

_FOUND = {
    "section": "headings over their sections",
    "function": "comments on their functions",
    "picture": "captions of their pictures",
}

app = typer.Typer(
    help="Fit search modes on your own pairs; the result is a file that other commands take as mode or task.",
    no_args_is_help=True,
)


@app.command()
def fit(
    name: Annotated[str, typer.Option("--name", help="Name of the search mode.")],
    pairs: Annotated[
        Path | None,
        typer.Argument(
            metavar="PAIRS",
            help='A .jsonl[.gz]: {"query", "positive"}, with "negative" if you have one, or {"a", "b", "score"}; '
            '"modality": "code" where the documents are code.',
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="In place of PAIRS, a folder without labels: headings and their sections, comments and their "
            "functions, captions and their pictures.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file; default: NAME.mapper.")] = None,
    model: Model = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Batches encoded at a time (default: all usable cores) and cores of the fit (default: 1).",
            min=1,
        ),
    ] = None,
    tier: Tier = None,
    language: Language = None,
    as_json: AsJson = False,
) -> None:
    """Fit a search mode on a few hundred pairs, for vectors you already stored.

    Cross-validation decides: where fitting does not help, the mapper equals the best mode that the bundle has.
    """
    from threadpoolctl import threadpool_limits

    source = _one_of(pairs, folder)
    place = out or Path(f"{check_name(name)}{SUFFIX}")
    if place.suffix != SUFFIX or not place.absolute().parent.is_dir():
        raise DataError(f"{place}: expected a file that ends in {SUFFIX}, in a folder that exists")
    start = time.perf_counter()
    # numpy's threads wait by spinning: on a busy machine two of them take twice as long as one.
    with threadpool_limits(threads or 1):
        mapper = fit_mapper(
            load(model, threads=threads, tier=tier, language=language),
            source,
            name,
            progress=None if sys.stderr.isatty() else False,
        )
    mapper.save(place)
    typer.echo(json.dumps(_as_json(mapper)) if as_json else report(mapper))
    seconds = time.perf_counter() - start
    typer.echo(f"{place} written after {seconds:.1f} s: use it as --mode {place}", err=True)


def _one_of(pairs: Path | None, folder: Path | None) -> Path:
    """The file of pairs or the folder, of which one is given."""
    if (pairs is None) == (folder is None):
        raise DataError("expected either PAIRS, a file of pairs, or --folder DIR, a folder without labels")
    if pairs is not None and pairs.is_dir():
        raise DataError(
            f"{pairs}: a folder, expected a file of pairs; for a folder without labels add --folder"
        )
    if folder is not None and not folder.is_dir():
        raise DataError(f"{folder}: not a folder; for a file of pairs leave out --folder")
    return pairs or folder or Path()


@app.command()
def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .mapper file.")],
    as_json: AsJson = False,
) -> None:
    """Show what a mapper file was fitted on, what it gained there and what it changes."""
    mapper = read_mapper(file)
    typer.echo(json.dumps(_as_json(mapper)) if as_json else report(mapper))


def report(mapper: CustomMapper) -> str:
    """`mapper` as text for people; files of other programs may hold less than `fit` writes."""
    sides = "one matrix for both sides" if mapper.document is None else "a matrix for each side"
    lines = [f"{mapper.name}: {sides}, base {mapper.base_id}"]
    try:
        lines += _scores(dict(mapper.about))
    except (KeyError, TypeError, ValueError, AttributeError):
        lines.append("its scores are not recorded")
    return "\n".join(lines)


def _scores(about: dict[str, Any]) -> list[str]:
    """Lines with the scores that `fit` recorded."""
    metric, before, after = about["metric"], about["before"], about["after"]
    gains = [after - before for before, after in about["folds"]]
    counted = f"{about['pairs']:,} of {about['pairs_given']:,} pairs" + (
        f", {about['negatives']:,} with a negative" if about["negatives"] else ""
    )
    lines = [
        f"fitted on {counted} with {about['bundle']}",
        *_found_in(about),
        "",
        f"| {'on these pairs':22s} | {metric:>8s} |",
    ]
    lines.append(f"| {'-' * 22} | {'-' * 7}: |")
    lines += [f"| {_mode(mode):22s} | {score:8.3f} |" for mode, score in about["existing"].items()]
    lines += [f"| {_row(about):22s} | {after:8.3f} |", ""]
    start = "base vectors without a mapper" if about["start"] == IDENTITY else f"mode {about['start']}"
    if about["strength"]:
        lines.append(
            f"expect {metric} {before:.3f} -> {after:.3f} on unseen queries like these "
            f"({after - before:+.3f}, standard error {about['standard_error']:.3f}; "
            f"folds {min(gains):+.3f} to {max(gains):+.3f}), over {start}"
        )
    else:
        lines.append(f"fitting gained nothing sure on unseen queries: this mapper equals {start}")
    kept = ", ".join(f"{_mode(mode)} {share:.0%}" for mode, share in about["agreement"].items())
    lines.append(
        f"cost if it replaced another mode: of that mode's ten nearest documents here it keeps {kept}"
    )
    lines.append("the other modes themselves do not change")
    return lines


def _found_in(about: dict[str, Any]) -> list[str]:
    """Where pairs without labels come from."""
    if "files" not in about:
        return []
    found = ", ".join(f"{count:,} {_FOUND[kind]}" for kind, count in about["found"].items())
    return [f"found in {about['files']:,} files, of which whole ones were held out: {found}"]


def _row(about: dict[str, Any]) -> str:
    """The name of the fitted mapper's row in the table."""
    return (
        f"fitted, strength {about['strength']:.2f}" if about["strength"] else f"kept: {_mode(about['start'])}"
    )


def _mode(name: str) -> str:
    """The name of a start for people."""
    return "no mapper" if name == IDENTITY else name


def _as_json(mapper: CustomMapper) -> dict[str, Any]:
    return {"name": mapper.name, "base_id": mapper.base_id, "tasks": list(mapper.matrices), **mapper.about}
