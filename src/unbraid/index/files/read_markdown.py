"""Markdown by heading, as CommonMark has them, and the fields in front of it."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from unbraid.index.files.front_matter import front_matter_end

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdx"})


def markdown_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """(line from 0, level, title) of each heading that is in no quote or list."""
    end = front_matter_end(lines)
    text = "\n".join([*([""] * end), *lines[end:]])
    if "#" not in text and "==" not in text and "--" not in text:
        return
    tokens: Iterable[Any] = _parser().parse(text)
    title = iter(tokens)
    for token in title:
        if token.type == "heading_open" and token.level == 0:
            yield token.map[0], int(token.tag[1:]), " ".join(next(title).content.split())


@cache
def _parser() -> Any:
    """A parser of blocks alone; what stands within a line needs none. Any, to load it when it is first needed."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
