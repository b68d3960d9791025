from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.files.language import PICTURE
from unbraid.index.search.merge_adjacent import (
    MERGED,
    join_boxes,
    join_chunks,
    merge_adjacent,
    shared_context,
)
from unbraid.index.store.entry import Entry
from unbraid.items import Modality


def entry(chunk: int, path: str = "/a.md", modality: Modality = "text", sha256: str = "s") -> Entry:
    """Chunk number `chunk`: lines 10c + 1 to 10c + 9."""
    return Entry(path, modality, 10 * chunk + 1, 10 * chunk + 9, f"part {chunk}", sha256, 1, 1, chunk, 99)


def test_neighbours_are_one_result_in_the_order_of_the_file() -> None:
    entries = [entry(5), entry(9), entry(4), entry(6)]
    assert merge_adjacent(entries, 10) == [[0, 2, 3], [1]]
    assert join_chunks([entries[i] for i in (0, 2, 3)]) == (41, 69, "part 4\n\npart 5\n\npart 6")


def test_the_context_of_a_result_is_what_its_chunks_share() -> None:
    a, b, c = (replace(entry(1), context=one) for one in ("A > B > C", "A > B", ""))
    assert shared_context([a, a]) == "A > B > C"
    assert shared_context([a, b]) == "A > B"
    assert shared_context([a, b, c]) == shared_context([c]) == ""


def test_a_chunk_that_closes_the_gap_joins_both_sides() -> None:
    assert merge_adjacent([entry(1), entry(3), entry(2)], 10) == [[0, 2, 1]]


def test_there_are_k_results_where_there_are_enough() -> None:
    entries = [entry(0), entry(1), entry(7), entry(8), entry(20), entry(30)]
    assert merge_adjacent(entries, 3) == [[0, 1], [2, 3], [4]]
    assert merge_adjacent(entries, 1) == [[0, 1]]
    assert merge_adjacent(entries[:4], 9) == [[0, 1], [2, 3]]


def test_a_short_file_alone_is_not_one_result() -> None:
    assert merge_adjacent([entry(n) for n in range(2 * MERGED)], 10) == [[0, 1, 2], [3, 4, 5]]


def test_code_files_versions_and_pages_stay_apart() -> None:
    entries = [
        entry(1),
        entry(2, modality="code"),
        entry(2, path="/b.md"),
        entry(2, sha256="older"),
        Entry("/p.png", "image", None, None, "", "s", 1, 1, 0, 1),
        Entry("/p.tif", "image", None, None, "", "s", 1, 1, 0, 2),
        Entry("/p.tif", "text", 2, 2, "a", "s", 1, 1, 1, 2, PICTURE, boxes="0,0,1,1"),
        Entry("/s.pdf", "text", 1, 1, "a", "s", 1, 1, 0, 2, "pdf", boxes="0,0,1,1"),
        Entry("/s.pdf", "text", 2, 2, "a", "s", 1, 1, 1, 2, "pdf", boxes="0,0,1,1"),
    ]
    assert merge_adjacent(entries, 10) == [[n] for n in range(9)]


def test_a_picture_and_all_words_in_it_are_one_result_with_a_box_for_each_line() -> None:
    words = [
        Entry("/p.png", "text", None, None, f"a\n{n}", "s", 1, 1, n, 9, PICTURE, boxes=f"0,0,1,1\n0,0,1,.{n}")
        for n in range(1, 6)
    ]
    parts = [words[2], Entry("/p.png", "image", None, None, "", "s", 1, 1, 0, 9), *words[:2], *words[3:]]
    assert merge_adjacent(parts, 10) == [list(range(6))]
    assert join_chunks(parts) == (None, None, "a\n1\na\n2\na\n3\na\n4\na\n5")
    assert join_boxes(parts)[-1] == (0, 0, 1, 0.5) and len(join_boxes(parts)) == 10
    assert join_chunks(parts[1:2]) == (None, None, "") and join_boxes(parts[1:2]) == []


def test_a_page_as_a_picture_joins_the_text_of_that_page() -> None:
    parts = [Entry("/a.pdf", "text", n, n, f"page {n}", "s", 1, 1, n, 9, "pdf") for n in (1, 5)]
    parts += [Entry("/a.pdf", "image", n, n, "", "s", 1, 1, n + 2, 9) for n in (5, 6)]
    assert merge_adjacent(parts, 10) == [[0], [1, 2], [3]]
    assert join_chunks(parts[1:3]) == (5, 5, "page 5") and join_boxes(parts[1:3]) == []


def test_parts_of_one_line_or_page_are_one_result() -> None:
    parts = [Entry("/a.pdf", "text", 3, 3, f"part {n}", "s", 1, 1, n, 9) for n in (0, 1, 4)]
    assert merge_adjacent(parts, 10) == [[0, 1, 2]]
    assert join_chunks(parts) == (3, 3, "part 0\npart 1\n…\npart 4")


@given(st.permutations(range(30)), st.integers(1, 12))
def test_results_keep_the_ranking_and_hold_each_chunk_once(order: list[int], k: int) -> None:
    results = merge_adjacent([entry(n) for n in order], k)
    assert len(results) <= k
    firsts = [result[0] for result in results]
    assert firsts == sorted(firsts) and all(result[0] == min(result) for result in results)
    held = [position for result in results for position in result]
    assert len(held) == len(set(held)) and all(len(result) <= MERGED for result in results)
    for result in results:
        numbers = sorted(order[position] for position in result)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
