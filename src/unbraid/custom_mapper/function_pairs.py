"""Pairs of what a comment or docstring says of a function, and the function without it."""

import ast
import inspect
import re
import warnings
from collections.abc import Iterator
from typing import TypeAlias

from unbraid.index.files.chunk import NO_LIMIT, split_lines
from unbraid.index.files.read import read_text_sections
from unbraid.index.files.read_code import GRAMMARS
from unbraid.index.files.read_python import PYTHON_SUFFIXES

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_WITH_GRAMMAR = frozenset(suffix for suffixes in GRAMMARS for suffix in suffixes.split())
_FUNCTION = re.compile(r"(def|function|method|macro) \S")
_COMMENT = re.compile(
    r"\s*(?:/\*+|\*+/|\*(?!/)|//[/!]*|--+|#(?!\[|include|define|if|end|pragma))\s?(.*?)\s*(?:\*/)?\s*"
)
_TAG = re.compile(r"\s*[@\\:](?:param|return|throws|brief|type|see|since)\b|\s*-{3,}")


def function_pairs(text: str, suffix: str) -> Iterator[tuple[str, str]]:
    """(description, function) of a file's code; none for a language without a grammar, or that does not parse."""
    if suffix in PYTHON_SUFFIXES:
        yield from _python_pairs(text)
    elif suffix in _WITH_GRAMMAR:
        lines, sections = read_text_sections(text, suffix, NO_LIMIT)
        for section in sections:
            if _FUNCTION.match(section.name):
                yield _without_comment(lines.lines[section.first : section.end])


def _python_pairs(text: str) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse("\n".join(split_lines(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, Function) and (said := ast.get_docstring(node)):
            yield summary(said), without_docstring(node)


def summary(docstring: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(docstring).partition("\n\n")[0].split())


def without_docstring(node: Function) -> str:
    """The function as code, without docstring, comments and decorators; "" for an empty body."""
    body = node.body[1:]
    if not body or (len(body) == 1 and isinstance(body[0], ast.Pass | ast.Raise)):
        return ""
    bare = type(node)(**{**dict(ast.iter_fields(node)), "body": body, "decorator_list": []})
    return ast.unparse(ast.copy_location(bare, node))


def _without_comment(lines: list[str]) -> tuple[str, str]:
    """The first paragraph of the comment above a definition, and what follows the comment."""
    said: list[str] = []
    end = 0
    while end < len(lines) and (found := _COMMENT.fullmatch(lines[end])):
        said.append(found[1])
        end += 1
    while said and not said[0]:
        del said[0]
    first = next((place for place, line in enumerate(said) if not line or _TAG.match(line)), len(said))
    return " ".join(" ".join(said[:first]).split()), "\n".join(lines[end:]).strip()
