import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.files.read import read_text_chunks
from unbraid.index.files.read_table import MOST_APART

LONG = "word " * 60


def contexts(text: str, suffix: str) -> list[tuple[str, ...]]:
    return [chunk.context for chunk in read_text_chunks(text, suffix)]


def test_a_long_object_of_json_gives_its_keys_as_context() -> None:
    value = {"name": "kettle", "scripts": {"test": {"run": LONG, "then": LONG}, "build": {"run": LONG * 4}}}
    found = read_text_chunks(json.dumps(value, indent=2), ".json")
    assert found[0].first_line == 1 and '"name": "kettle"' in found[0].snippet
    assert ("scripts",) in [chunk.context for chunk in found]
    assert found[-1].context == ("scripts", "build")


def test_objects_of_a_list_stay_whole() -> None:
    text = json.dumps({"users": [{"id": n, "name": "ada " * 9} for n in range(40)]}, indent=1)
    users = [chunk for chunk in read_text_chunks(text, ".json") if chunk.context == ("users",)]
    assert len(users) > 9
    for chunk in users[:-1]:
        assert chunk.snippet.lstrip().startswith("{") and chunk.snippet.rstrip().endswith("},")


def test_objects_of_a_very_long_list_share_chunks() -> None:
    text = json.dumps([{"id": n} for n in range(MOST_APART + 1)], indent=1)
    found = read_text_chunks(text, ".json")
    assert len(found) < MOST_APART / 5
    assert all(chunk.snippet.strip("[]\n ").startswith("{") for chunk in found)


def test_braces_and_keys_in_strings_are_text() -> None:
    text = json.dumps({"a{": {"note": '{"b": [', "c": [LONG, LONG, LONG, LONG, LONG]}, "z": 1}, indent=1)
    assert contexts(text, ".json")[-1] in [(), ("a{", "c")]
    assert all(set(context) <= {"a{", "c"} for context in contexts(text, ".json"))


YAML = f"""\
services:
  web:
    command: |
      key: this is text
      run: {LONG}
      then: {LONG}
    env:
    - name: A
      value: {LONG}
    - name: B
      value: {LONG}
      more: {LONG}
  # a comment on the database
  db:
    image: {LONG * 3}
    volumes:
      - a
---
other:
  last: {LONG * 3}
  end: {LONG * 2}
"""


def test_yaml_is_cut_by_indentation_and_text_within_it_is_not() -> None:
    found = read_text_chunks(YAML, ".yml")
    assert not any("key" in chunk.context for chunk in found)
    assert ("services", "web") in [chunk.context for chunk in found]
    assert next(chunk.context for chunk in found if "volumes" in chunk.snippet)[0] == "services"
    assert found[-1].context in [(), ("other",)]


def test_text_in_a_block_of_yaml_has_no_keys() -> None:
    block = f"    command: |\n      key:\n        run: {LONG * 4}\n        then: {LONG * 4}\n"
    found = read_text_chunks(f"services:\n  web:\n{block}    image: {LONG * 4}\n", ".yml")
    assert ("services", "web", "command") in [chunk.context for chunk in found]
    assert not any("key" in chunk.context for chunk in found)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('"' + '\\"' * 40_000, ".jsonc"),
        ("- " * 60_000, ".yaml"),
        ("{\n" + '"-":{\n},\n' * 10_000, ".jsonc"),
    ],
)
def test_what_is_hostile_is_read_in_time_that_grows_with_it(text: str, suffix: str) -> None:
    """Each took minutes to hours where the time grew with the square; the limit of the whole run would end it."""
    assert read_text_chunks(text, suffix)[-1].last_line == len(text.splitlines())


def test_a_list_as_far_left_as_its_key_is_within_it() -> None:
    text = "steps:\n" + "".join(f"- name: {n}\n  run: {LONG}\n" for n in range(9)) + "after: 1\n"
    found = read_text_chunks(text, ".yaml")
    assert {chunk.context for chunk in found[1:-1]} == {("steps",)}
    assert all(chunk.snippet.startswith("- name") for chunk in found[1:-1])


def test_tables_of_toml_and_sections_of_ini_are_headings() -> None:
    text = f'[tool.ruff]\na = """\n[no table]\n"""\nb = "{LONG}"\nc = "{LONG}"\nd = "{LONG}"\ne = "{LONG}"\n[[tool.x]]\nd = "{LONG}"\n'
    assert [context for context in contexts(text, ".toml") if context] == [("tool.ruff",)]
    assert contexts(f"[first]\n{f'b = {LONG}{chr(10)}' * 9}", ".ini")[-1] == ("first",)


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".toml", ".ini"])
@given(text=st.text(alphabet="ab\"'{}[]:,-#|> \\\n\t/", max_size=200))
def test_every_line_that_is_not_blank_is_in_one_chunk(suffix: str, text: str) -> None:
    found = read_text_chunks(text, suffix)
    lines = text.replace("\r", "\n").split("\n")
    held = [n for chunk in found for n in range(chunk.first_line or 0, (chunk.last_line or 0) + 1)]
    assert {n for n, line in enumerate(lines, 1) if line.strip()} <= set(held)
    assert held == sorted(held)


@pytest.mark.parametrize(
    ("piece", "suffix"), [("[\n", ".json"), ('{"a":\n', ".json"), ("- ", ".yaml"), (" a:\n", ".yaml")]
)
def test_what_goes_very_deep_is_read(piece: str, suffix: str) -> None:
    assert read_text_chunks("x: 1\n" + piece * 5_000, suffix)
