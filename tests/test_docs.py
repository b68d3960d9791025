"""The README and the docs do not rot: Python compiles and calls what exists, commands and links lead somewhere."""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text

import unbraid
from unbraid.cli.main import app
from unbraid.index.index import Index

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "src/unbraid/starter/README.md",
    ROOT / "teacher/starter/README.md",
]
RECEIVERS = {"unbraid": unbraid, "index": Index, "model": unbraid.Embedder}
# Removed commands and options, which these two pages name.
REMOVED = {"unpack", "--save"}
COMMANDS: Any = typer.main.get_command(app)
HISTORY = ("decisions.md", "distill.md")

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def unknown_names(code: str) -> Iterator[str]:
    """Attributes and keywords that `unbraid`, an index or an embedder does not have."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = RECEIVERS.get(node.value.id)
            if owner is not None and not hasattr(owner, node.attr):
                yield ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver = node.func.value
            owner = RECEIVERS.get(receiver.id) if isinstance(receiver, ast.Name) else None
            target = getattr(owner, node.func.attr, None)
            if target is not None and not inspect.isclass(target):
                known = inspect.signature(target).parameters
                yield from (
                    f"{ast.unparse(node)}: {word.arg}" for word in node.keywords if word.arg not in known
                )


def test_python_blocks_call_what_exists(page):
    for code in blocks(page, "python"):
        assert list(unknown_names(code)) == []


def test_python_in_running_text_calls_what_exists(page):
    calls = re.compile(r"(?:unbraid|index|model)\.\w+\(.*\)")
    for code in filter(calls.fullmatch, INLINE.findall(prose(page))):
        assert list(unknown_names(code.replace("…", "..."))) == []


def command_lines(page: Path) -> Iterator[str]:
    """`unbraid ...` of shell blocks, of indented blocks and of running text, without comments and brackets."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        line
        for language, body in BLOCK.findall(text)
        if language in ("bash", "")
        for line in body.splitlines()
    ]
    lines += re.findall(r"^    (?=\S)(.*)", prose(page), re.MULTILINE) + INLINE.findall(prose(page))
    for line in lines:
        if found := re.fullmatch(r"(?:\w+=\S+ )*unbraid ([^\n]*)", line.strip()):
            yield re.sub(r"[\[\]]", " ", found[1])


def wrong_word(words: list[str]) -> str | None:
    """The first word that is no command where one has to stand, or no option of its command."""
    command = COMMANDS
    while commands := getattr(command, "commands", None):
        name = words[0] if words else ""
        if name in commands:
            command, words = commands[name], words[1:]
        elif "add" in commands and words:  # `unbraid index PATH` is short for `unbraid index add PATH`
            command = commands["add"]
        elif re.fullmatch(r"[a-z][a-z-]*", name):
            return name
        else:
            break
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {
        "-h",
        "--help",
    }
    return next(
        (word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options), None
    )


def test_commands_and_their_options_exist(page):
    for line in command_lines(page):
        words = shlex.split(line, comments=True)
        if words and not (page.name in HISTORY and set(words) & REMOVED):
            assert wrong_word(words) is None, line


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("index a --into b", None),
        ("train label x --teacher y", None),
        ("index stats a --nope", "--nope"),
        ("serch a", "serch"),
        ("train unpick a", "unpick"),
        ("search a --in=b -k 3", None),
    ],
)
def test_the_check_finds_a_wrong_word(line, wrong):
    assert wrong_word(line.split()) == wrong


def test_links_and_scripts_lead_to_files(page):
    text = prose(page)
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    scripts = [ROOT / name for name in re.findall(r"\b(?:benchmarks|docs|examples)/\w+\.py\b", text)]
    missing = [place for place in [*(page.parent / link for link in links), *scripts] if not place.exists()]
    assert missing == []


def test_anchors_lead_to_headings(page):
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", prose(page)):
        target = page.parent / link if link else page
        headings = re.findall(r"^#+ (.*)", BLOCK.sub("", target.read_text(encoding="utf-8")), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs, f"{link}#{anchor}"


def help_texts(command: Any, name: str = "unbraid") -> Iterator[tuple[str, str]]:
    """Every help text of a command, its options and its subcommands, with where it stands."""
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    for word, inner in getattr(command, "commands", {}).items():
        yield from help_texts(inner, f"{name} {word}")


def test_no_help_text_loses_a_word_in_brackets() -> None:
    """Help is drawn as rich markup, where [word] is a style: it would not be shown."""
    texts = dict(help_texts(COMMANDS))
    assert len(texts) > 100
    lost = {place: text for place, text in texts.items() if Text.from_markup(text).plain != text}
    assert not lost
