"""`unbraid mcp`: an index as tools of a language model."""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.cli.options import Model, Tier, one_of
from unbraid.cli.place import IndexName, one_place
from unbraid.cli.qdrant import Name, Url
from unbraid.custom_mapper.mapper_file import read_mapper
from unbraid.errors import require
from unbraid.loading import load, open_index

TOKEN = "UNBRAID_MCP_TOKEN"

app = typer.Typer()
Folder = Annotated[
    Path | None,
    typer.Option("--in", metavar="FOLDER", help="Folder of the index; by default the one of your own."),
]


@app.callback(invoke_without_command=True)
def mcp(
    context: typer.Context,
    folder: Folder = None,
    own: IndexName = None,
    url: Url = None,
    name: Name = None,
    http: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", help="Serve HTTP on this port of 127.0.0.1; 0 takes a free one.", min=0, max=65535
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help=f"With --http: a file with the token. By default {TOKEN}, or a new one at each start."
        ),
    ] = None,
    mapper: Annotated[
        list[Path] | None, typer.Option(help="A .mapper file, which is one more search mode.")
    ] = None,
    model: Model = None,
    tier: Tier = None,
) -> None:
    """Let a language model search an index: an MCP server over standard input and output, or over HTTP.

    It only reads. A client starts it by itself; `unbraid mcp install` prints what to write where.
    """
    if context.invoked_subcommand is not None:
        return
    chosen = one_place(folder, "--in", own, url, name)
    if token_file is not None and http is None:
        raise typer.BadParameter("--token-file goes with --http")
    require("mcp", "mcp")
    from unbraid.mcp import SharedIndex, create_server

    mappers = [read_mapper(one) for one in mapper or []]

    @cache
    def embedder() -> Any:
        loaded = load(model, tier=tier)
        for one in mappers:
            loaded = loaded.with_mapper(one)
        return loaded

    # Opened when it is needed: a client gets the reason as the answer of a tool.
    shared = SharedIndex(
        lambda: open_index(chosen, qdrant=url, collection=name, model=embedder, read_only=True)
    )
    server = create_server(shared, [one.name for one in mappers])
    if http is None:
        from unbraid.mcp.stdio import serve_stdio

        serve_stdio(server, shared)
        return
    from unbraid.mcp.http import HOST, PATH, listen, read_token, serve_http

    token, is_new = read_token(token_file, os.environ.get(TOKEN))
    with listen(http) as listening:
        typer.echo(f"MCP at http://{HOST}:{listening.getsockname()[1]}{PATH}", err=True)
        if is_new:
            typer.echo(f"Clients send: Authorization: Bearer {token}", err=True)
        try:
            serve_http(server, token, listening)
        finally:
            shared.close()


@app.command()
def install(
    folder: Folder = None,
    own: IndexName = None,
    client: Annotated[
        str | None,
        typer.Option(help="Only the entry for this client: claude-code, claude-desktop, codex, cursor, ..."),
    ] = None,
    model: Model = None,
) -> None:
    """Print what to run or to write for a client to start the server. Nothing is changed."""
    require("mcp", "mcp")
    from unbraid.mcp.clients import CLIENTS

    one_of(tuple(CLIENTS))(client)
    # -P: a client may start it in any folder, and no module is to be imported from there.
    place = one_place(folder, "--in", own, None, None)
    assert place is not None  # without a server it is a folder
    command = [sys.executable, "-P", "-m", "unbraid", "mcp", "--in", os.path.abspath(place.expanduser())]
    if model is not None:
        command += ["--model", os.path.abspath(model) if os.path.exists(model) else model]
    if client is not None:
        typer.echo(CLIENTS[client].entry(command))
        return
    alike: dict[str, list[str]] = {}
    for name, one in CLIENTS.items():
        alike.setdefault(one.entry(command), []).append(f"# {name}: {one.where}")
    typer.echo("\n\n".join("\n".join([*places, entry]) for entry, places in alike.items()))
