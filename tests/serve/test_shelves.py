"""Who imports whom inside the server."""

import re
from pathlib import Path

import unbraid.serve

SERVE = Path(unbraid.serve.__file__).parent


def test_the_engine_knows_nothing_of_http():
    imported = {
        name
        for path in (SERVE / "engine").glob("*.py")
        for name in re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
    }
    ours = {name for name in imported if name.startswith("unbraid.serve.")}
    assert {name.split(".")[2] for name in ours} == {"engine", "limits"}
    assert not {name.split(".")[0] for name in imported} & {"starlette", "uvicorn", "http", "msgspec"}
