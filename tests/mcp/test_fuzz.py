"""Whatever the arguments: an answer within its tokens or an error in words, never a crash or a control character."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.one_of(
    st.sampled_from(
        [
            "keys",
            "rotate_keys",
            '"more salt"',
            "src",
            "*.py",
            "docs/",
            "**",
            "[",
            "a=b",
            "year>=2026",
            "~",
            ".",
        ]
    ),
    st.text(max_size=40),
)
PLACES = st.one_of(
    st.sampled_from(
        ["docs/keys.md", "bread.md", "red.png", "page.html:2", "long.txt:9-3", "/etc/passwd", "../x", "a\0b"]
    ),
    TEXTS,
)
NUMBERS = st.one_of(st.none(), st.integers(-3, 130), st.integers(), st.floats(allow_nan=True), st.booleans())
LISTS = st.lists(TEXTS, max_size=3)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4
)
FILTERS = {
    "mode": st.one_of(st.sampled_from(["retrieval", "symmetric", "code"]), TEXTS),
    "k": st.one_of(st.integers(1, 50), NUMBERS),
    "paths": LISTS,
    "languages": st.lists(st.one_of(st.sampled_from(["python", "markdown", "picture"]), TEXTS), max_size=3),
    "modality": st.one_of(st.none(), st.sampled_from(["text", "code", "image"]), TEXTS),
    "where": LISTS,
    "min_score": st.one_of(st.none(), st.floats(0, 1), NUMBERS),
    "max_tokens": st.one_of(st.integers(200, 3000), NUMBERS),
}
ARGUMENTS = {
    "search": {"query": TEXTS, "query_is_code": st.booleans(), **FILTERS},
    "find_related": {"path": PLACES, "line": NUMBERS, **FILTERS},
    "read_hit": {
        "path": PLACES,
        "first_line": NUMBERS,
        "last_line": NUMBERS,
        "context": st.one_of(st.integers(0, 1000), NUMBERS),
        "max_tokens": FILTERS["max_tokens"],
    },
    "status": {},
}


@st.composite
def calls(draw):
    """A tool, and arguments that are mostly of the right kind."""
    name = draw(st.sampled_from(list(ARGUMENTS)))
    known = ARGUMENTS[name]
    names = draw(st.sets(st.sampled_from(sorted(known)), max_size=4)) if known else set()
    if draw(st.integers(0, 9)):
        names |= {"query", "path"} & known.keys()
    arguments = {one: draw(known[one]) for one in sorted(names)}
    if not draw(st.integers(0, 9)):
        arguments[draw(st.text(max_size=8))] = draw(ANYTHING)
    return name, arguments


@settings(max_examples=80)
@given(calls())
def test_every_call_is_answered_or_refused_in_words(call, starter, asked):
    name, arguments = asked
    answer = call(name, **arguments)  # raises where a tool crashed, or let a control character through
    if answer.is_error:
        assert len(answer.text.partition(f"{name}: ")[2]) > 10
        return
    most = arguments.get("max_tokens") or 2000
    written = json.dumps(answer.structure, ensure_ascii=False, separators=(",", ":"))
    assert max(starter.count_tokens([answer.text, written])) <= most
