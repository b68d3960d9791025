"""What a release says of itself in several places (docs/release.md)."""

import json
import re
import tomllib
from pathlib import Path

import unbraid

ROOT = Path(__file__).parent.parent


def test_the_version_is_one_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    server = json.loads((ROOT / "server.json").read_text())
    versions = {project["version"], server["version"], *(one["version"] for one in server["packages"])}
    assert versions == {unbraid.__version__}


def test_the_recipe_empties_the_folder_that_is_uploaded():
    recipe = (ROOT / "docs/release.md").read_text()
    assert 0 < recipe.index("rm -rf dist") < recipe.index(".ci/check-wheel dist") < recipe.index("dist/*")


def test_the_changelog_has_a_place_for_what_comes_next():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_the_readme_names_the_server_as_the_registry_wants():
    name = json.loads((ROOT / "server.json").read_text())["name"]
    assert f"<!-- mcp-name: {name} -->" in (ROOT / "README.md").read_text()


def test_the_classifiers_name_every_python_from_the_oldest_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [int(found[1]) for one in project["classifiers"] if (found := re.search(r":: 3\.(\d+)$", one))]
    oldest = int(project["requires-python"].removeprefix(">=3."))
    assert named == list(range(oldest, oldest + len(named)))
