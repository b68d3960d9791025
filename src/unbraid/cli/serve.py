"""`unbraid serve`: a bundle, or a teacher, over HTTP."""

import ipaddress
import os
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from unbraid.bundle import SMALL
from unbraid.cli.options import Device, Model, Threads, Tier, require
from unbraid.loading import load, open_index
from unbraid.runtime.cpu import usable_cores

app = typer.Typer()


@app.command()
def serve(
    model: Model = None,
    teacher: Annotated[
        str | None, typer.Option(help="Serve a teacher instead: a folder, a hub id, or starter.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="An index to search, opened for as long as it is served.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    socket: Annotated[Path | None, typer.Option(help="A Unix socket to listen on instead.")] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys, one a line; also UNBRAID_API_KEYS, separated by commas."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on other addresses than this machine's without keys.")
    ] = False,
    host_name: Annotated[
        list[str] | None, typer.Option(help="A name this server is called by, beside localhost; * for any.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="A page on another host that may call, as https://name (CORS).")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(help="A further model name to answer to, such as text-embedding-3-small."),
    ] = None,
    remote_pictures: Annotated[
        bool,
        typer.Option("--remote-pictures", help="Fetch pictures given as https URLs, from public addresses."),
    ] = False,
    truncate: Annotated[
        bool,
        typer.Option(
            help="Cut texts that are too long; --no-truncate refuses them unless a request says so."
        ),
    ] = True,
    limit: Annotated[
        list[str] | None, typer.Option(help="NAME=NUMBER, see docs/serve.md: items=256, queue_seconds=2, ...")
    ] = None,
    tier: Tier = SMALL,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Serve embeddings, task mapping and search over HTTP: OpenAI's and Jina's forms, and a page at /."""
    require("fastapi", "serve")
    if teacher is not None:
        require("torch", "teacher")
        if given := [name for name, value in (("--model", model), ("--index", index)) if value is not None]:
            raise typer.BadParameter(
                f"{given[0]} does not go with --teacher: a teacher makes no base vectors"
            )
    from unbraid.serve import BundleEngine, Engine, Settings, TeacherEngine, create_app
    from unbraid.serve.http.auth import read_keys
    from unbraid.serve.uvicorn_server import Server, log_to_stderr

    accepted = read_keys(keys, os.environ.get("UNBRAID_API_KEYS"))
    here = socket is not None or _is_loopback(host)
    if not here and not accepted and not insecure:
        raise typer.BadParameter(
            f"--host {host} can be reached from other machines: give --keys FILE or UNBRAID_API_KEYS, or --insecure"
        )
    names = set(host_name or ())
    any_host = "*" in names or socket is not None or (not here and not names)
    settings = Settings(
        keys=accepted,
        hosts=frozenset() if any_host else frozenset({*Settings.hosts, host, *names}),
        origins=tuple(origin or ()),
        aliases=tuple(alias or ()),
        truncate=truncate,
        remote_pictures=remote_pictures,
        limits=_limits(limit or []),
    )
    log_to_stderr()
    with ExitStack() as stack:
        searched = None
        engine: Engine
        if teacher is not None:
            from unbraid.teacher import load as load_teacher

            engine = TeacherEngine(load_teacher(teacher, device=device))
        else:
            embedder = load(model, threads=1, tier=tier)
            engine = BundleEngine(embedder, threads or usable_cores())
            if index is not None:
                from unbraid.serve.routes.index_search import Index

                opened = stack.enter_context(open_index(index, model=embedder, read_only=True))
                searched = Index(opened, embedder)
        server = Server(
            create_app(engine, settings, searched),
            settings.limits,
            host=host,
            port=port,
            socket=None if socket is None else str(socket),
        )
        server.run()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _limits(given: list[str]) -> "Limits":  # type: ignore[name-defined] # noqa: F821
    """The limits, some of them changed by NAME=NUMBER."""
    from unbraid.serve import Limits

    kinds = {field.name: type(field.default) for field in fields(Limits)}
    changed: dict[str, int | float] = {}
    for one in given:
        name, _, value = one.partition("=")
        if name not in kinds:
            raise typer.BadParameter(f"--limit {one}: expected NAME=NUMBER, with one of {', '.join(kinds)}")
        try:
            changed[name] = int(value) if kinds[name] is int else float(value)
        except ValueError:
            raise typer.BadParameter(f"--limit {one}: {value!r} is no number") from None
    try:
        return Limits(**changed)  # type: ignore[arg-type]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
