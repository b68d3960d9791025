from hypothesis import given
from hypothesis import strategies as st

from unbraid.index import Place
from unbraid.index.files.language import PICTURE
from unbraid.index.search.copies import copy_key, first_of_copies, places_of
from unbraid.index.store.entry import Entry


def entry(chunk: int, path: str = "/a.md", text: str = "some text") -> Entry:
    return Entry(path, "text", 10 * chunk + 1, 10 * chunk + 9, text, "s", 1, 1, chunk, 99)


@given(st.lists(st.sampled_from("abc")))
def test_each_points_to_the_first_that_is_equal(keys: list[str]) -> None:
    assert [keys.index(key) for key in keys] == first_of_copies(keys)


def test_white_space_does_not_tell_copies_apart() -> None:
    assert copy_key(entry(0, text="some\n  text\t")) == copy_key(entry(3, "/b.py"))
    assert copy_key(entry(0, text="Some text")) != copy_key(entry(0))


def test_words_in_pictures_are_no_copies() -> None:
    words = [Entry(f"/{n}.png", "text", None, None, "a", "s", 1, 1, 1, 2, PICTURE) for n in range(2)]
    assert copy_key(words[0]) != copy_key(words[1])


def test_adjacent_copies_are_one_place_and_the_hit_itself_is_none() -> None:
    copies = [entry(4, "/b.md"), entry(7, "/c.md"), entry(5, "/b.md"), entry(0)]
    assert places_of(copies, [entry(0)]) == [Place("/b.md", 41, 59), Place("/c.md", 71, 79)]
    assert places_of([], [entry(0)]) == []
