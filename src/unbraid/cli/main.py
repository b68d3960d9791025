"""The command line. Results go to standard output, progress to standard error; wrong use is one line and exit code 2."""

import codecs
import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.core import TyperGroup

from unbraid import __version__
from unbraid.cli import index, mapper, mcp, train
from unbraid.cli.adopt import adopt
from unbraid.cli.analyse import analyse
from unbraid.cli.doctor import doctor
from unbraid.cli.encode import encode
from unbraid.cli.evaluate import evaluate
from unbraid.cli.export_st import export_st
from unbraid.cli.info import info
from unbraid.cli.search import search
from unbraid.cli.serve import serve
from unbraid.cli.status import forget, status
from unbraid.cli.watch import watch
from unbraid.errors import UnbraidError

EVERYBODY, MAKERS = "For everybody", "For makers of encoders, mappers and teachers"
ORDER = "index search watch status forget encode serve mcp mapper info doctor evaluate analyse adopt export-st train".split()


class _Ordered(TyperGroup):
    """Lists commands in ORDER; typer would list groups of commands last."""

    def list_commands(self, _: object) -> list[str]:
        return sorted(self.commands, key=ORDER.index)


app = typer.Typer(
    name="unbraid",
    cls=_Ordered,
    help="Encode text, code and images once on a CPU, then search them under any task.\n\n"
    "Start with: unbraid index FOLDER, then: unbraid search 'what I look for'. --into and --in name another index.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(index.app, name="index", rich_help_panel=EVERYBODY)
app.add_typer(mapper.app, name="mapper", rich_help_panel=EVERYBODY)
app.add_typer(mcp.app, name="mcp", rich_help_panel=EVERYBODY)
for command in (search, watch, status, forget, encode, serve, info, doctor, evaluate, analyse):
    app.command(rich_help_panel=EVERYBODY)(command)
app.command(rich_help_panel=MAKERS)(adopt)
app.command("export-st", rich_help_panel=MAKERS)(export_st)
app.add_typer(train.app, name="train", rich_help_panel=MAKERS)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; every error that unbraid raises on purpose is one line and exit code 2."""
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ESCAPES)
    try:
        result = app(standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except UnbraidError as error:
        _fail(str(error))
    except BrokenPipeError:  # `unbraid search ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        # Wrong use, as typer's parser reports it; anything else is a bug and keeps its traceback.
        if not hasattr(error, "format_message"):
            raise
        if message := error.format_message():  # empty when typer has shown help for missing arguments
            _fail(f"{message} (see unbraid --help)")
        sys.exit(2)
    sys.exit(result if isinstance(result, int) else 0)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """What a console cannot show as JSON writes it, so that JSON stays JSON."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs), error.end


ESCAPES = "unbraid-escapes"
codecs.register_error(ESCAPES, _escape)


def _fail(message: str) -> None:
    typer.echo(f"unbraid: {' '.join(message.split())}", err=True)
    sys.exit(2)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"unbraid: {message}", err=True)
