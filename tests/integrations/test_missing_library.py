"""Without its library, each integration says which extra to install."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from unbraid.errors import MissingExtraError

ROOT = Path(__file__).parent.parent.parent
LIBRARIES = {
    "langchain": ("langchain_core", "langchain"),
    "llama_index": ("llama_index", "llama-index"),
    "haystack": ("haystack", "haystack"),
    "chroma": ("chromadb", "chroma"),
    "lancedb": ("lancedb", "lancedb"),
    "fastembed": ("fastembed", "fastembed"),
    "llm": ("llm", "llm"),
    "mteb": ("mteb", "mteb"),
}


def test_every_integration_is_in_the_table():
    files = {path.stem for path in (ROOT / "src/unbraid/integrations").glob("*.py")}
    assert files - {"__init__", "side_encoder", "hits"} == set(LIBRARIES)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_missing_library_names_the_extra(name, monkeypatch):
    library, extra = LIBRARIES[name]
    for module in [one for one in sys.modules if one == library or one.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"unbraid.integrations.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"pip install 'unbraid\[{extra}\]'"):
        importlib.import_module(f"unbraid.integrations.{name}")


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_extra_is_in_pyproject_and_in_that_of_the_tests(name):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert LIBRARIES[name][1] in extras
    (all_of_them,) = extras["frameworks"]
    tested = extras["test"][0]
    assert "frameworks" in tested
    # mteb brings torch, so it is no part of `frameworks`.
    names = (tested if name == "mteb" else all_of_them).removeprefix("unbraid[").removesuffix("]").split(",")
    assert LIBRARIES[name][1] in names
