from collections.abc import Iterator
from pathlib import Path

import pytest

from unbraid.io.child import Child

PROGRAM = """
import os, sys, time

def reply(request, content):
    print("a library that prints")
    if request["do"] == "die":
        os._exit(3)
    if request["do"] == "hang":
        while True:
            pass
    if request["do"] == "wait":
        time.sleep(60)
    if request["do"] == "cut":
        os.write(1, b'{"bytes": 9}\\nabc')
        os._exit(0)
    return {"pid": os.getpid(), "got": request}, content[::-1]
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with Child(program) as child:
        yield child


def test_one_process_answers_every_request(child: Child) -> None:
    first, content = child.ask({"do": "", "ä": [1, None]}, b"abc\n", seconds=20)
    second, nothing = child.ask({"do": ""}, seconds=20)
    assert (first["got"], content) == ({"do": "", "ä": [1, None]}, b"\ncba")
    assert nothing == b"" and first["pid"] == second["pid"]


@pytest.mark.parametrize("how", ["die", "cut"])
def test_a_program_that_dies_is_an_error_and_starts_anew(child: Child, how: str) -> None:
    with pytest.raises(EOFError, match="its reader died"):
        child.ask({"do": how}, seconds=20)
    assert child.ask({"do": ""}, b"x", seconds=20)[1] == b"x"


def test_the_processors_seconds_are_limited(child: Child) -> None:
    with pytest.raises(TimeoutError, match="it takes over 0 seconds"):
        child.ask({"do": "hang"}, seconds=0.2)
    assert child.ask({"do": ""}, b"x", seconds=20)[1] == b"x"


def test_so_is_waiting(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.io.child.WAIT", 1)
    child.ask({"do": ""}, seconds=20)
    with pytest.raises(TimeoutError):
        child.ask({"do": "wait"}, seconds=0.3)


def test_closing_twice_does_nothing(child: Child) -> None:
    child.close()
    child.ask({"do": ""}, seconds=20)
    child.close()
    child.close()
