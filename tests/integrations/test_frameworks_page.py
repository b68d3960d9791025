"""docs/frameworks.md: every block runs, with the starter, in a folder that holds what the page speaks of."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from llm.cli import cli

import unbraid

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/frameworks.md"
BLOCK = re.compile(r"^## ([^\n]*)|^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """(heading, code) of the page's blocks."""
    heading, found = "", []
    for title, name, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        heading = title or heading
        if name == language:
            found.append((heading, code))
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys.md").write_text("# Keys\n\nKeys are rotated every ninety days.\n")
    (tmp_path / "rain.md").write_text("# Rain\n\nRain falls from clouds.\n")
    shutil.copy(ROOT / "examples/pictures/cat.png", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("heading", "code"), blocks("python"))
def test_a_block_runs_and_finds_what_it_looks_for(heading, code, here, capsys):
    if "my.index" in code:
        with unbraid.open_index("my.index") as index:
            index.add(["keys.md", "rain.md"], progress=False)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})  # noqa: S102
    printed = capsys.readouterr().out
    if "print" in code:
        assert "Rain falls" in printed or "keys.md" in printed or "id=1" in printed, printed
        assert "Bonds" not in printed


def test_every_framework_of_the_table_has_a_block():
    table = re.findall(r"^\| ([\w ,]+?) \| `pip install", PAGE.read_text(), re.MULTILINE)
    headings = {heading for language in ("python", "bash") for heading, _ in blocks(language)}
    assert {name.replace(", ", " and ") for name in table} == headings
    assert len(table) == 7


def test_the_commands_of_llm_run_and_find(here, monkeypatch):
    monkeypatch.setenv("LLM_USER_PATH", str(here / "llm"))
    printed = []
    ((_, code),) = blocks("bash")
    for line in code.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "llm"
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, result.output
        printed.append(result.output)
    assert '"id": "rain.md"' in printed[2].splitlines()[0]
    assert '"id": "cat.png"' in printed[4]


def test_three_lines_are_enough():
    """Those that a block has for unbraid beside what the framework asks of everyone."""
    for heading, code in blocks("python"):
        ours = re.findall(r"^.*(?:Unbraid|add_model|open_index).*$", code, re.MULTILINE)
        assert len(ours) <= 3, heading
