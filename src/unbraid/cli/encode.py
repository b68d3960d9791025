"""`unbraid encode`: files or lines to vectors on this machine; Parquet to Parquet on a Ray cluster."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from unbraid.cli.options import (
    Dim,
    Language,
    Model,
    Side,
    StoredNumbers,
    Threads,
    Tier,
    custom_mapper,
    one_of,
)
from unbraid.custom_mapper.mapper_file import SUFFIX
from unbraid.errors import DataError, require
from unbraid.items import MODALITIES, Modality
from unbraid.loading import load
from unbraid.vectors import Numbers


def encode(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files, one item each; default, or -: standard input, one text a line. With --engine ray: Parquet files "
            "and folders of them, one item a row."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="FILE.npy, .jsonl or .parquet; default: JSON lines on stdout. With --engine ray: a folder.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="query, document, symmetric, code or a .mapper file; default: base vectors."),
    ] = None,
    side: Side = None,
    multi_vector: Annotated[
        bool,
        typer.Option("--multi-vector", help="A vector for each token, to .parquet or .jsonl; text and code."),
    ] = False,
    vectors: Annotated[
        int | None,
        typer.Option(
            "--vectors", help="With --multi-vector: at most this many for an item, by joining.", min=1
        ),
    ] = None,
    dim: Dim = None,
    numbers: StoredNumbers = "float32",
    modality: Annotated[
        str | None,
        typer.Option(
            help="text, code or image, where the suffix or the column name misleads.",
            callback=one_of(MODALITIES),
        ),
    ] = None,
    model: Model = None,
    tier: Tier = None,
    language: Language = None,
    threads: Threads = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="ray: encode on every core of a Ray cluster; a second run continues the first.",
            callback=one_of(("ray",)),
        ),
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="With ray: the column of ids; default: id.")] = None,
    column: Annotated[
        str | None,
        typer.Option(help="With ray: the column to encode; default: the one named text, code or image."),
    ] = None,
    shard_rows: Annotated[
        int | None, typer.Option(help="With ray: rows of an output file; default: 4096.", min=1)
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="With ray: a teacher in place of the bundle, one on each GPU.")
    ] = None,
) -> None:
    """Encode files, or the lines of standard input, into vectors; with --engine ray the rows of a corpus."""
    custom = custom_mapper(task)
    if side and custom is None:
        raise typer.BadParameter(f"--side goes with a {SUFFIX} file as --task")
    if vectors is not None and not multi_vector:
        raise typer.BadParameter(
            "--vectors is a number of vectors for each item: it goes with --multi-vector"
        )
    if multi_vector:
        if task is not None or dim is not None or numbers not in ("float32", "float16"):
            raise typer.BadParameter(
                "a multi-vector has no task and no shorter form, and float32 or float16 numbers: leave --task and --dim out"
            )
        if engine is not None:
            raise typer.BadParameter("--multi-vector runs on this machine: leave --engine out")
    if engine == "ray":
        require("ray", "cluster")
        from unbraid.cluster import ROWS, EncoderSpec, encode_corpus

        if not files or out is None:
            raise typer.BadParameter(
                "--engine ray takes Parquet FILES, or folders of them, and a folder --out"
            )
        bundle = any(given is not None for given in (model, tier, language, custom))
        if teacher is not None and (bundle or task is None):
            raise typer.BadParameter(
                "--teacher goes with one of its tasks as --task, without --model, --tier or --language"
            )
        spec = EncoderSpec(
            model=_absolute(model),
            tier=tier,
            language=language,
            teacher=_absolute(teacher),
            task=_absolute(task) if custom else task,
            side=side,
            dim=dim,
            numbers=numbers,  # type: ignore[arg-type]
        )
        report = encode_corpus(
            files,
            out,
            spec,
            id=id or "id",
            column=column,
            modality=modality,  # type: ignore[arg-type]
            shard_rows=shard_rows or ROWS,
            workers=threads,
        )
        _print_report(report, out)
        return
    if any(given is not None for given in (id, column, shard_rows, teacher)):
        raise typer.BadParameter("--id, --column, --shard-rows and --teacher go with --engine ray")
    from unbraid.cli.encode_multi_vector import write_multi_vectors
    from unbraid.io.multi_vector_file import check_ragged
    from unbraid.io.surrogates import replace_lone_surrogates
    from unbraid.io.vector_file import check_suffix, json_row, provenance, vector_file

    if out is not None and multi_vector:
        check_ragged(out)
    elif out is not None:
        check_suffix(out)
    items: list[Any] = list(files) if files and files != [Path("-")] else _stdin_lines()
    embedder = load(model, threads=threads, tier=tier, language=language)
    if custom:
        embedder, task = embedder.with_mapper(custom), custom.task(side)
    if multi_vector:
        write_multi_vectors(
            embedder,
            items,
            out,
            vectors=vectors,
            numbers=numbers,
            modality=cast(Modality | None, modality),
        )
        return
    encoded = embedder.encode(
        items, task=task, dim=dim, numbers=cast(Numbers, numbers), modality=cast(Modality | None, modality)
    )
    rows = [{"item": replace_lone_surrogates(str(item))} for item in items]
    about = provenance(embedder, task, numbers)
    if out is None:
        for row, vector in zip(rows, encoded, strict=True):
            typer.echo(json_row(row, about, vector))
    else:
        with vector_file(out, about, {"item": str}, encoded.shape[1], encoded.dtype) as file:
            file.write(rows, encoded)
        typer.echo(f"{len(items)} vectors of {encoded.shape[1]} {encoded.dtype} in {out}", err=True)


def _absolute(name: str | None) -> str | None:
    """`name` as an absolute path where it is a file or folder: workers run in another folder."""
    return os.path.abspath(name) if name is not None and os.path.exists(name) else name


def _print_report(report: Any, out: Path) -> None:
    """Print how many rows were encoded; exit code 1 when shards failed, 130 after Ctrl-C."""
    for message in report.warnings:
        typer.echo(f"unbraid: {message}", err=True)
    earlier = f", {report.before:,} of {report.rows:,} rows were done before" if report.before else ""
    typer.echo(
        f"{report.encoded:,} rows encoded into {out}{earlier}; {report.rejected:,} could not be encoded"
        f"{': the column error says why' if report.rejected else ''}",
        err=True,
    )
    for shard, reason in report.failed.items():
        typer.echo(f"failed   {shard}: {reason}", err=True)
    if report.interrupted or report.failed:
        why = "interrupted" if report.interrupted else f"{len(report.failed)} shards failed"
        typer.echo(f"unbraid: {why}; what is counted above is in {out}, run again for the rest", err=True)
        raise typer.Exit(130 if report.interrupted else 1)


def _stdin_lines() -> list[str]:
    if sys.stdin.isatty():
        raise DataError("nothing to encode: give files, or pipe texts in, one a line")
    lines = sys.stdin.buffer.read().decode("utf-8-sig", "replace").split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
