import pytest

from unbraid.index.files.language import LANGUAGES, OTHER, language
from unbraid.items import CODE_SUFFIXES


def test_every_suffix_of_code_has_a_language() -> None:
    assert {suffix for suffix in CODE_SUFFIXES if language(suffix) == OTHER} == set()


@pytest.mark.parametrize(
    ("suffix", "name"), [(".PY", "python"), (".h", "c"), (".hpp", "c++"), (".md", "markdown"), ("", "text")]
)
def test_languages_by_suffix(suffix: str, name: str) -> None:
    assert language(suffix) == name and name in LANGUAGES
