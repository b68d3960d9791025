import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.store.split_words import LONGEST, fold, split_words


def words(text: str) -> list[str]:
    return [word.whole for word in split_words(text)]


def terms(text: str) -> set[str]:
    return {term for word in split_words(text) for term in (word.whole, *word.parts)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GitHub", {"github", "git", "hub"}),
        ("JavaScript", {"javascript", "java", "script"}),
        ("getName", {"getname", "get", "name"}),
        ("snake_case", {"snake_case", "snake", "case"}),
        ("__init__", {"__init__", "init"}),
        ("HTTPServer2", {"httpserver2", "http", "server"}),
        ("v1.2.3", {"v1.2.3", "1.2.3", "v1"}),
        ("E0382", {"e0382", "0382"}),
        ("C++ and C#.", {"c++", "and", "c#"}),
        ("os.path.join(x)", {"os.path.join", "os", "path", "join", "x"}),
        ("ssl.CERT_NONE", {"ssl.cert_none", "ssl", "cert_none", "cert", "none"}),
        ("self._stop_event", {"self._stop_event", "self", "stop_event", "stop", "event"}),
        ("well-known", {"well-known", "well", "known"}),
        ("Python's", {"python", "s"}),
        ("end. Next", {"end", "next"}),
        ("STRASSE straße", {"strasse"}),
        ("/usr/share/doc", {"usr", "share", "doc"}),
        ("getÉcole", {"getecole", "get", "ecole"}),
        ("___", set()),
    ],
)
def test_a_word_is_itself_and_its_parts(text, expected):
    assert terms(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("résumé", "resume"),
        ("cafe\u0301", "café"),
        ("o\ufb03ce", "office"),
        ("hy\u00adphen", "hyphen"),
        ("get\u200bvalue", "getvalue"),
        ("\uff21\uff22\uff23", "abc"),
        ("\uff76\uff80\uff76\uff85", "カタカナ"),
        ("ＧｉｔＨｕｂ", "GitHub"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ёлка", "елка"),
        ("كِتَاب", "كتاب"),
        ("\u2067שלום\u2069", "שָׁלוֹם"),
    ],
)
def test_two_ways_to_write_a_word_are_one(one, other):
    assert terms(one) == terms(other) != set()


@pytest.mark.parametrize(
    ("document", "query"),
    [
        ("数据库连接失败", "数据库"),
        ("データベースに接続", "データベース"),
        ("데이터베이스에", "데이터베이스"),
        ("ภาษาไทยง่าย", "ภาษาไทย"),
        ("ພາສາລາວ", "ລາວ"),
        ("お茶を飲む", "茶"),
        ("Python第3章の説明", "説明"),
    ],
)
def test_scripts_without_spaces_are_found_inside_a_run(document, query):
    assert terms(query) <= terms(document)


def test_signs_of_indic_scripts_do_not_cut_words():
    assert words("हिन्दी भाषा।") == ["हिन्दी", "भाषा"]


def test_a_very_long_word_is_data_and_has_no_parts():
    (word,) = split_words("aB3" * 100)
    assert len(word.whole) == LONGEST and word.parts == ()


text = st.text(max_size=80) | st.text("aB1_.-+#é́ßΣ中カ한ไ \u00ad\u200b", max_size=30)


@given(text)
def test_words_do_not_depend_on_the_normal_form(some):
    for form in ("NFC", "NFD"):
        assert terms(unicodedata.normalize(form, some)) == terms(some)


@given(text)
def test_folding_twice_is_folding_once(some):
    assert fold(fold(some)) == fold(some)


@given(text, text)
def test_a_text_has_the_words_of_its_paragraphs(one, other):
    assert words(f"{one}\n\n{other}") == words(one) + words(other)


@given(st.text("abcXYZ019_.-+#/() ", max_size=40))
def test_words_of_ascii_are_the_same_beside_other_letters(some):
    assert words(f"{some} é") == [*words(some), "e"]
