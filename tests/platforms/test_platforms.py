"""Windows and macOS, as far as Linux can play them (other_platform.py says how far)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SRC = HERE.parent.parent / "src" / "unbraid"
# What people run; the rest is for makers, on Linux.
ROOMS = ("cli", "custom_mapper", "index", "io", "mcp", "runtime", "serve")


def run(platform: str, file: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "other_platform.py"), platform, str(file), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)


def modules() -> list[str]:
    """Every module that people run."""
    paths = [*SRC.glob("*.py"), *(path for room in ROOMS for path in (SRC / room).rglob("*.py"))]
    names = (".".join(path.relative_to(SRC.parent).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in names if name != "unbraid.__main__")


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_everything_that_people_run_works_without_what_the_platform_lacks(platform, bundle_folder, tmp_path):
    ran = run(platform, HERE / "everyday.py", json.dumps(modules()), bundle_folder, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "added": 2,
        "hit": f"{tmp_path / 'files' / 'a.md'}:1-3".removeprefix("/"),
        "near": 1,
        "changed": 1,
        "asked": 2,
        "took over": 2,
        "deleted": 1,
        "intact": True,
        "bytes": True,
        "roots": 1,
        "served": 200,
        "cores": True,
    }


@pytest.mark.parametrize(
    "line",
    [
        "import fcntl",
        "from resource import getrusage",
        "import os; os.fork",
        "from os import getuid",
        "import os; os.O_NONBLOCK",
        "import signal; signal.SIGKILL",
        "from signal import setitimer",
        "import socket; socket.AF_UNIX",
    ],
)
def test_what_windows_lacks_is_missed(tmp_path, line):
    """The fake itself: without this the test above could not fail."""
    (tmp_path / "file.py").write_text(f"__name__ = 'unbraid.x'\nimport runpy\n{line}\n")
    ran = run("win32", tmp_path / "file.py")
    assert ran.returncode == 1
    assert (
        ran.stderr.rpartition("\n")[0].splitlines()[-1].startswith(("ModuleNotFound", "Attribute", "Import"))
    )


def test_windows_does_not_replace_a_file_that_is_open(tmp_path):
    (tmp_path / "file.py").write_text(
        "import sys\nfrom pathlib import Path\nkept = open(sys.argv[1])\nPath(sys.argv[2]).replace(sys.argv[1])\n"
    )
    (tmp_path / "new").touch()
    (tmp_path / "old").touch()
    ran = run("win32", tmp_path / "file.py", tmp_path / "old", tmp_path / "new")
    assert "PermissionError" in ran.stderr
    assert sorted(os.listdir(tmp_path)) == ["file.py", "new", "old"]


@pytest.mark.parametrize("flags", ["O_RDONLY", "O_RDWR"])
def test_windows_does_not_sync_a_file_that_is_open_for_reading_only(tmp_path, flags):
    (tmp_path / "file.py").write_text(
        f"import sys\n__name__ = 'unbraid.x'\nimport os\nos.fsync(os.open(sys.argv[0], os.{flags}))\n"
    )
    ran = run("win32", tmp_path / "file.py")
    assert ("Bad file descriptor" in ran.stderr) == (flags == "O_RDONLY")
