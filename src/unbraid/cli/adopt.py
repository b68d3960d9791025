"""`unbraid adopt`: a model of another library becomes a bundle."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from unbraid.errors import AdoptError, require
from unbraid.progress import duration


def adopt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a model, or a hub id org/name.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the bundle.")],
    pooling: Annotated[
        str | None,
        typer.Option(
            help="For a plain transformers encoder: mean, cls, max, last, weightedmean or mean_sqrt_len.",
        ),
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Fewer dimensions than the model's own, by PCA of its vectors.", min=1)
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=NAME",
            help="Which prompt of the model a task takes, such as query=web_search; may be given several times.",
        ),
    ] = None,
    sample: Annotated[
        Path | None,
        typer.Option(
            help="A folder, or a file of texts, one a line, to measure on and to fit PCA or a bridge on; "
            "default: docstrings."
        ),
    ] = None,
    bridge: Annotated[
        Literal["starter"] | None,
        typer.Option(
            help="Write a copy of the starter with MODEL as a tier: a linear map takes it into the starter's space, so that "
            "both search one index and the starter reads pictures. What it keeps is printed."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch of a hub id.")] = None,
    exact_prompts: Annotated[
        bool,
        typer.Option(
            "--exact-prompts",
            help="Encode queries with their own prompt, in place of a mapper from base vectors.",
        ),
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help='Fit a search mode "pairs" on a .jsonl[.gz] of pairs, as `unbraid mapper fit` takes it.',
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help='Fit a search mode "folder" on a folder without labels: headings and their sections, comments and '
            "their functions, captions and their pictures.",
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            metavar="de,fr,...",
            help="Cut the vocabulary of a multilingual model to these languages. Needs --counted-on.",
        ),
    ] = None,
    counted_on: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A text file whose lines in the chosen languages say which pieces are kept; may be given several times.",
        ),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights, with torch's restricted loader.")
    ] = False,
) -> None:
    """Make a bundle of a model that others trained: sentence-transformers, transformers, CLIP, model2vec.

    Nothing is trained, and no code of the model's own is run.
    """
    for package in ("torch", "sentence_transformers", "onnx"):
        require(package, "export")
    from unbraid.adopt import adopt as run
    from unbraid.adopt.card import kept
    from unbraid.adopt.compare_speed import compare_speed

    stated = [one.partition("=") for one in prompt or ()]
    if wrong := next((one for one in stated if not one[2]), None):
        raise typer.BadParameter(f"--prompt {wrong[0]!r}: expected TASK=NAME")
    named = {task: name for task, _, name in stated}
    if bridge:
        if dim is not None:
            raise typer.BadParameter(
                "--dim does not go with --bridge: the starter's space has its own dimensions"
            )
        if exact_prompts or pairs or folder or languages or counted_on:
            raise typer.BadParameter(
                "--exact-prompts, --pairs, --folder and --languages do not go with --bridge: leave them out"
            )
        _bridge(model, out, sample, revision, pooling, named, allow_pickle)
        return
    tell = _clock()
    made = run(
        model,
        out,
        on_step=tell,
        revision=revision,
        pooling=pooling,
        dim=dim,
        prompts=named,
        allow_pickle=allow_pickle,
        exact_prompts=exact_prompts,
        pairs=pairs,
        folder_of_texts=folder,
        languages=_languages(languages, counted_on or []),
        sample=_lines(sample) if sample else None,
    )
    tell("measuring the speed")
    speeds = compare_speed(out)
    typer.echo(f"{made.name}, {made.dim} dimensions")
    for line in kept(made):
        typer.echo(f"- {line}")
    for speed in speeds:
        typer.echo(f"{speed.bundle}: {speed.size / 1e6:.0f} MB, {speed.texts:.0f} docstrings/s on one thread")
    typer.echo(f"{out} written: use it as --model {out}", err=True)


def _clock() -> Callable[[str], None]:
    """A function that writes to standard error what is done now, and after how long."""
    start = time.monotonic()

    def tell(step: str) -> None:
        typer.echo(f"{duration(time.monotonic() - start)} {step}", err=True)

    return tell


def _bridge(
    model: str,
    out: Path,
    sample: Path | None,
    revision: str | None,
    pooling: str | None,
    prompts: dict[str, str],
    allow_pickle: bool,
) -> None:
    from unbraid.adopt.bridge import write_bridged
    from unbraid.adopt.bridge_card import bridged_lines
    from unbraid.adopt.larger_sample import BRIDGE_TEXTS, folder_texts, library_texts
    from unbraid.adopt.read_model import read_model

    tell = _clock()
    tell("reading the model")
    found = read_model(model, revision=revision, pooling=pooling, prompts=prompts, allow_pickle=allow_pickle)
    if sample is None:
        texts, source = library_texts(BRIDGE_TEXTS), "docstrings and reference of Python"
    else:
        texts, source = folder_texts(sample, BRIDGE_TEXTS), f"of {sample.name}"
    tell(f"fitting the map on {len(texts):,} texts, measuring it, writing the graphs")
    made = write_bridged(found, out, texts, source)
    typer.echo("\n\n".join([f"{made.name}: tier {made.tier} of a copy of the starter", *bridged_lines(made)]))
    typer.echo(f"{out} written: use it as --model {out}", err=True)


def _languages(languages: str | None, files: list[Path]) -> dict[str, list[str]]:
    """Lines of `files` by language. Raises AdoptError where one is given without the other."""
    from unbraid.adopt.languages import read_languages
    from unbraid.runtime.routing import check_language

    if languages is None and not files:
        return {}
    if languages is None or not files:
        raise AdoptError(
            "--languages and --counted-on belong together: the languages, and files with text in them"
        )
    chosen = [one.strip() for one in languages.split(",")]
    for one in chosen:
        check_language(one)
    return read_languages(files, chosen)


def _lines(path: Path) -> list[str]:
    """The distinct lines of a file that hold something. Raises AdoptError for one that cannot be read or has few."""
    if path.is_dir():
        from unbraid.adopt.larger_sample import FEW_TEXTS, folder_texts

        return folder_texts(path, FEW_TEXTS)
    try:
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        found = list(dict.fromkeys(line for line in lines if line))
    except (OSError, UnicodeDecodeError) as error:
        raise AdoptError(f"{path}: cannot be read as text: {error}") from error
    if len(found) < 50:
        raise AdoptError(f"{path}: {len(found)} different lines with text, expected 50 or more")
    return found
