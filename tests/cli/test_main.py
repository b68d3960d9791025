"""The command line as a person or a script meets it: results on stdout, one line and exit code 2 for wrong use."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unbraid.cli.show_hit import readable
from unbraid.index import Hit


def test_index_then_search_finds_the_file(unbraid, folder, tmp_path):
    report = unbraid("index", folder, "--into", tmp_path / "ix", "--json")
    assert report.code == 0
    assert json.loads(report.out)["added"] == 3
    found = unbraid("search", "the moon is bright", "--in", tmp_path / "ix", "--json", "--modality", "text")
    assert found.code == 0
    assert json.loads(found.out.splitlines()[0])["path"].endswith("moon.md")


def test_a_search_shows_what_its_score_is_made_of(unbraid, folder, tmp_path):
    index = tmp_path / "ix"
    unbraid("index", folder, "--into", index)
    found = unbraid("search", "bright moons", "--in", index, "--json")
    hits = {Path(hit["path"]).name: hit for hit in map(json.loads, found.out.splitlines())}
    assert found.code == 0
    assert 0 < hits["moon.md"]["score"] <= 1 and hits["moon.md"]["bm25"] > 0 == hits["red.png"]["bm25"]
    plain = unbraid("search", "bright moons", "--in", index, "--json", "--vectors-only")
    assert all(json.loads(line)["bm25"] is None for line in plain.out.splitlines())


def test_a_search_keeps_to_paths_languages_and_fields(unbraid, folder, tmp_path):
    index = tmp_path / "ix"
    unbraid("index", folder / "dog.py", "--into", index, "--field", "team=pets", "--field", "year=2024")
    unbraid("index", folder, "--into", index)

    def found(*options: object) -> set[str]:
        result = unbraid("search", "the moon", "--in", index, "--json", *options)
        assert result.code == 0
        return {Path(json.loads(line)["path"]).name for line in result.out.splitlines()}

    assert found() == {"moon.md", "dog.py", "red.png"}
    assert found("--path", folder / "moon.md", "--path", "*.png") == {"moon.md", "red.png"}
    assert found("--language", "python") == {"dog.py"}
    assert found("--where", "team=pets", "--where", "year>=2024") == {"dog.py"}
    assert found("--where", "team!=pets", "--modality", "text") == {"moon.md"}
    assert "unknown language" in unbraid("search", "x", "--in", index, "--language", "pyton").err
    assert "expected NAME=VALUE" in unbraid("search", "x", "--in", index, "--where", "what").err


def test_several_queries_are_answered_in_one_run(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    (tmp_path / "asked.txt").write_text("the moon\n\na dog\n")
    options = ("--queries", tmp_path / "asked.txt", "-k", "1")
    shown = unbraid("search", "--in", tmp_path / "ix", *options)
    assert [line for line in shown.out.splitlines() if not line.startswith(" ") and line.endswith(":")] == [
        "the moon:",
        "a dog:",
    ]
    rows = [
        json.loads(line)
        for line in unbraid("search", "--in", tmp_path / "ix", *options, "--json").out.splitlines()
    ]
    assert [row["query"] for row in rows] == ["the moon", "a dog"]
    (tmp_path / "asked.txt").write_text("\n")
    assert (
        "holds no query"
        in unbraid("search", "--in", tmp_path / "ix", "--queries", tmp_path / "asked.txt").err
    )


def test_an_index_may_be_smaller(unbraid, folder, tmp_path):
    index = tmp_path / "ix"
    options = ("--dim", "256", "--numbers", "float16", "--candidates", "int8")
    assert unbraid("index", folder, "--into", index, *options).code == 0
    assert json.loads(unbraid("index", "stats", index, "--json", model=False).out)["storage"] == {
        "dim": 256,
        "numbers": "float16",
        "candidates": "int8",
    }
    assert "moon.md" in unbraid("search", "the moon is bright", "--in", index, "-k", "1").out
    assert "leave these options out" in unbraid("index", folder, "--into", index, "--dim", "128").err
    assert "expected one of 512" in unbraid("index", folder, "--into", tmp_path / "no", "--dim", "100").err


def test_a_hit_names_lines_and_in_a_pdf_pages():
    def place(path: str, first: int, last: int) -> str:
        hit = Hit(1, 0.5, path, "text", first, last, "words", 0.5)
        return readable(hit).split("\n")[0].split("  ")[-2]

    assert place("/a.md", 3, 3) == "/a.md:3-3"
    assert (place("/a.pdf", 3, 4), place("/a.pdf", 3, 3)) == ("/a.pdf page 3-4", "/a.pdf page 3")


def test_one_tier_searches_what_the_other_has_indexed(unbraid, folder, tmp_path):
    report = unbraid("index", folder, "--into", tmp_path / "ix", "--tier", "nano", "--json")
    assert json.loads(report.out)["added"] == 3
    again = unbraid("index", folder, "--into", tmp_path / "ix", "--json")
    assert json.loads(again.out)["unchanged"] == 3
    for tier in ("small", "nano"):
        found = unbraid("search", "the moon", "--in", tmp_path / "ix", "--tier", tier, "--json")
        assert len(found.out.splitlines()) == 3


def test_readable_results_name_rank_score_file_and_lines(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    found = unbraid("search", "moon", "--in", tmp_path / "ix", "-k", 1, "--modality", "text")
    first = found.out.splitlines()[0].split()
    assert first[0] == "1"
    assert 0 <= float(first[1]) <= 1
    assert first[2].endswith("moon.md:1-3")


def test_a_picture_and_a_snippet_can_be_the_query(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    picture = unbraid(
        "search", "--image", folder / "red.png", "--in", tmp_path / "ix", "--json", "--mode", "symmetric"
    )
    hits = [json.loads(line) for line in picture.out.splitlines()]
    assert next(hit for hit in hits if hit["modality"] == "image")["cosine"] == pytest.approx(1, abs=1e-3)
    code = unbraid("search", "--code", "def dog():", "--in", tmp_path / "ix", "--json", "--mode", "code")
    assert code.code == 0


def test_a_second_run_encodes_nothing(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    report = json.loads(unbraid("index", folder, "--into", tmp_path / "ix", "--json").out)
    assert (report["unchanged"], report["chunks"]) == (3, 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("search", "moon"), "unbraid index FOLDER"),
        (("search", "--in", "x"), "give a QUERY, --image FILE or --queries FILE"),
        (("search", "moon", "--in", "/does/not/exist"), "no index at"),
        (("index", "/does/not/exist", "--into", "{tmp}/ix"), "/does/not/exist"),
        (("encode", "/does/not/exist.txt"), "/does/not/exist.txt"),
        (("encode", "--task", "poetry"), "poetry"),
        (("encode", "--dim", "100"), "100"),
        (("encode", "--numbers", "int4"), "int4"),
        (("encode", "--out", "vectors.csv"), ".npy"),
        (("encode", "--modality", "sound"), "sound"),
        (("bogus",), "bogus"),
        (("train", "export", "/does/not/exist", "{tmp}/out"), "distill"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(unbraid, tmp_path, words, says):
    filled = [word.format(tmp=tmp_path) for word in words]
    result = unbraid(*filled, model=words[0] not in ("bogus", "train"), stdin="moon\n")
    assert result.code == 2
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert says in result.err
    assert "Traceback" not in result.err


def test_a_search_with_an_unknown_mode_lists_the_modes(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix")
    result = unbraid("search", "moon", "--in", tmp_path / "ix", "--mode", "magic")
    assert result.code == 2
    assert "retrieval" in result.err


def test_version_and_no_arguments(command):
    assert command("--version").out.strip()
    assert command().code == 2


def test_help_groups_the_commands(command):
    everybody, makers = command("--help").out.split("For everybody")[1].split("For makers")
    names = "index search encode serve mapper info doctor evaluate analyse".split()
    places = [everybody.index(f" {name} ") for name in names]
    assert places == sorted(places)
    assert " train " in makers


@pytest.mark.parametrize(
    "words", [(), ("search",), ("index", "add"), ("mapper", "fit"), ("train",), ("train", "teacher", "score")]
)
def test_every_command_has_short_help(command, words):
    short, long = command(*words, "-h"), command(*words, "--help")
    assert short.code == 0 and short.out == long.out and "--help" in short.out


def test_makers_have_their_commands_under_train(command):
    out = command("train", "-h").out
    assert all(f" {name} " in out for name in "pairs label ceiling distill tower export teacher".split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="completion is of a shell")
def test_the_command_completes_itself_in_bash(tmp_path):
    """Installed into a clean home; the script that bash runs at each TAB then offers commands."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    unbraid = Path(sys.executable).parent / "unbraid"

    def bash(words: str, **more: str) -> str:
        script = (
            f"'{unbraid}' {words}; exit $?"  # with a second command bash stays the parent, and is detected
        )
        done = subprocess.run(
            ["bash", "-c", script], check=True, stdout=subprocess.PIPE, text=True, env={**environment, **more}
        )
        return done.stdout

    bash("--install-completion")
    installed = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_UNBRAID_COMPLETE=complete_bash" in text for text in installed)
    asked = {"_UNBRAID_COMPLETE": "complete_bash", "COMP_WORDS": "unbraid se", "COMP_CWORD": "1"}
    assert bash("", **asked).split() == ["search", "serve"]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_follows_the_terminal_and_no_color(variables, coloured):
    import pty

    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**known, "TERM": "xterm-256color", **variables}
    words = [sys.executable, "-m", "unbraid", "--help"]
    terminal, end = pty.openpty()
    with subprocess.Popen(words, stdout=end, env=environment) as process:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(terminal, 4096):
                shown += part
    os.close(terminal)
    assert process.returncode == 0
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-7]m", shown)) == coloured
    piped = subprocess.run(words, capture_output=True, check=True, env=environment).stdout
    assert b"\x1b" not in piped


def test_the_module_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "unbraid", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip()
