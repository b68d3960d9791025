"""`unbraid serve`: a bundle, or a teacher, over HTTP."""

import ipaddress
import os
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbraid.cli.options import Device, Language, Model, Threads, Tier
from unbraid.cli.place import find_index
from unbraid.errors import require
from unbraid.loading import load, open_index
from unbraid.runtime.cpu import usable_cores

if TYPE_CHECKING:
    from unbraid.serve import Limits

app = typer.Typer()


@app.command()
def serve(
    model: Model = None,
    teacher: Annotated[
        str | None, typer.Option(help="Serve a teacher instead: a folder, a hub id, or starter.")
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="An index to search, by its folder or the name of one of yours; it stays open."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the --index up to date while its files change.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    socket: Annotated[Path | None, typer.Option(help="A Unix socket to listen on instead.")] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys, one a line. UNBRAID_API_KEYS adds more, separated by commas."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow a --host that other machines can reach without keys.")
    ] = False,
    host_name: Annotated[
        list[str] | None, typer.Option(help="A host name to answer to, besides localhost; * for any.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Allow pages of another host to call: https://name (CORS).")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(help="Another model name to answer to, such as text-embedding-3-small."),
    ] = None,
    remote_pictures: Annotated[
        bool,
        typer.Option("--remote-pictures", help="Fetch pictures given as https URLs, from public addresses."),
    ] = False,
    truncate: Annotated[
        bool, typer.Option(help="Cut texts over the model's length, or refuse them. Requests may override.")
    ] = True,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="Change a limit: NAME=NUMBER, such as items=256. docs/serve.md lists them."),
    ] = None,
    tier: Tier = None,
    language: Language = None,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Serve embeddings, task mapping and search over HTTP, in OpenAI's and Jina's forms, with a search page at /."""
    require("starlette", "serve")
    if teacher is not None:
        require("torch", "teacher")
        if given := [name for name, value in (("--model", model), ("--index", index)) if value is not None]:
            raise typer.BadParameter(
                f"{given[0]} does not go with --teacher: a teacher makes no base vectors"
            )
    if watch:
        if index is None:
            raise typer.BadParameter("--watch goes with --index")
        require("watchfiles", "watch")
    from unbraid.serve import BundleEngine, Engine, Settings, TeacherEngine, create_app
    from unbraid.serve.http.auth import read_keys
    from unbraid.serve.uvicorn_server import Server, check_address, check_sockets, log_to_stderr

    accepted = read_keys(keys, os.environ.get("UNBRAID_API_KEYS"))
    is_private = socket is not None or _is_loopback(host)
    if not is_private and not accepted and not insecure:
        raise typer.BadParameter(
            f"other machines can reach --host {host}: give --keys FILE or UNBRAID_API_KEYS, or --insecure"
        )
    names = set(host_name or ())
    any_host = "*" in names or socket is not None or (not is_private and not names)
    settings = Settings(
        keys=accepted,
        hosts=frozenset() if any_host else frozenset({*Settings.hosts, host, *names}),
        origins=tuple(origin or ()),
        aliases=tuple(alias or ()),
        truncate=truncate,
        remote_pictures=remote_pictures,
        limits=_limits(limit or []),
    )
    # Before a model is loaded.
    if socket is None:
        check_address(host, port)
    else:
        check_sockets()
    log_to_stderr()
    with ExitStack() as stack:
        search = None
        engine: Engine
        if teacher is not None:
            from unbraid.teacher import AdapterTeacher
            from unbraid.teacher import load as load_teacher

            loaded = load_teacher(teacher, device=device)
            if not isinstance(loaded, AdapterTeacher):
                raise typer.BadParameter(
                    f"{teacher} is a joined teacher, which cannot be served: name a member"
                )
            engine = TeacherEngine(loaded)
        else:
            embedder = load(model, threads=1, tier=tier, language=language)
            engine = BundleEngine(embedder, threads or usable_cores())
            if index is not None:
                from unbraid.serve.routes.index_search import IndexSearch

                opened = stack.enter_context(
                    open_index(find_index(index), model=embedder, read_only=not watch)
                )
                search = IndexSearch(opened)
                if watch:
                    from unbraid.serve.watching import watching

                    stack.enter_context(watching(opened))
        application = create_app(engine, settings, search)
        Server(application, host=host, port=port, socket=None if socket is None else str(socket)).run()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _limits(given: list[str]) -> "Limits":
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
            raise typer.BadParameter(f"--limit {one}: {value!r} is not a number") from None
    try:
        return Limits(**changed)  # type: ignore[arg-type]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
