"""The command line in this process."""

import io
import sys
from typing import NamedTuple

import pytest


class Result(NamedTuple):
    """What a run of the command left."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A person without indexes and settings: the data folder and the config file of this machine are not looked at."""
    monkeypatch.setattr("unbraid.places.data_folder", lambda: tmp_path / "data")
    monkeypatch.setenv("UNBRAID_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("UNBRAID_INDEX", raising=False)
    return tmp_path


@pytest.fixture
def command(capsys, monkeypatch):
    """Run `unbraid` with some words: (exit code, output, errors)."""
    from unbraid.cli import main as cli

    def run(*words: object, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "argv", ["unbraid", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return Result(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def unbraid(command, bundle_folder):
    """`command` with the tiny bundle, unless model=False."""

    def run(*words: object, model: bool = True, stdin: str = "") -> Result:
        return command(*words, *(["--model", bundle_folder] if model else []), stdin=stdin)

    return run


@pytest.fixture
def folder(tmp_path):
    """A text, a piece of code and a picture."""
    from PIL import Image

    place = tmp_path / "stuff"
    place.mkdir()
    (place / "moon.md").write_text("# Moon\n\nThe moon is bright.\n")
    (place / "dog.py").write_text("def dog():\n    return 'house'\n")
    Image.new("RGB", (40, 30), "red").save(place / "red.png")
    return place
