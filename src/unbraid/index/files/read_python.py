"""Python by definition, with the language's own parser; where that fails, with tree-sitter (Python 2, newer syntax)."""

import ast
import warnings

from unbraid.index.files.chunk import Lines, Section, from_starts
from unbraid.index.files.read_code import read_code

PYTHON_SUFFIXES = frozenset({".py", ".pyi"})


def read_python(source: Lines) -> list[Section]:
    """One section per top-level definition and per run of other statements; a long class gives one per method.

    Text that this Python does not parse is cut as other code is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stray "\d" is not for the person who indexes to fix
            body = ast.parse(source.text(0, len(source.lines))).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return read_code(source, ".py")
    starts: dict[int, tuple[tuple[str, ...], str]] = {}  # first line -> (context, name)
    after_definition = False
    for node in body:
        name = _definition(node)
        if name or after_definition:
            starts[_first_line(node, source.lines)] = ((), name)
        if isinstance(node, ast.ClassDef) and not source.fit(node.lineno - 1, node.end_lineno or node.lineno):
            for method in filter(_definition, node.body):
                starts[_first_line(method, source.lines)] = ((name,), _definition(method))
        after_definition = bool(name)
    return from_starts(starts, len(source.lines))


def _definition(node: ast.stmt) -> str:
    """`class Name` or `def name` of a definition, empty for any other statement."""
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    return f"def {node.name}" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """First line, from 0, of a statement with its decorators and the comments directly above."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(expression.lineno for expression in decorators)]) - 1
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first
