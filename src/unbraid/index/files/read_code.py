"""Code by function and class, with the tree-sitter grammars that `unbraid[documents]` installs.

Definitions are found by the names of their nodes, which the grammars mostly share. One that is too long for a chunk is
cut at the definitions within it, so a class gives its methods and a module pattern in JavaScript its functions.
"""

import importlib
import re
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from unbraid.index.files.chunk import Lines, Section
from unbraid.index.files.definitions import Definition, from_definitions

GRAMMARS = {  # suffixes -> (module, function that gives the language)
    ".js .mjs .cjs .jsx": ("tree_sitter_javascript", "language"),
    ".ts .mts .cts": ("tree_sitter_typescript", "language_typescript"),
    ".tsx": ("tree_sitter_typescript", "language_tsx"),
    ".py .pyi": ("tree_sitter_python", "language"),  # where Python's own parser fails
    ".java": ("tree_sitter_java", "language"),
    ".c": ("tree_sitter_c", "language"),
    ".h .cc .cpp .cxx .hh .hpp .hxx": ("tree_sitter_cpp", "language"),  # C headers are nearly all valid C++
    ".cs": ("tree_sitter_c_sharp", "language"),
    ".go": ("tree_sitter_go", "language"),
    ".rs": ("tree_sitter_rust", "language"),
    ".rb": ("tree_sitter_ruby", "language"),
    ".php": ("tree_sitter_php", "language_php"),
    ".sh .bash": ("tree_sitter_bash", "language"),
    ".kt .kts": ("tree_sitter_kotlin", "language"),
    ".swift": ("tree_sitter_swift", "language"),
    ".scala": ("tree_sitter_scala", "language"),
    ".lua": ("tree_sitter_lua", "language"),
}
_BY_SUFFIX = {suffix: grammar for suffixes, grammar in GRAMMARS.items() for suffix in suffixes.split()}

# Longer files are generated or minified nearly always. Some grammars take the square of the length for text that is not their
# language (Java: 3 s for 16 KB of `-->> .`, 27 s for 48 KB), so a parse is given up after MAX_SECONDS of the processor.
MAX_BYTES = 1024**2
MAX_SECONDS = 3.0
SHORT = 16 * 1024  # bytes that are parsed in 3 seconds, whatever they are

_WORDS = {  # word in the context -> kinds of nodes, of any grammar
    "function": "function_definition function_declaration generator_function_declaration function_item"
    " function_signature",
    "method": "method_definition method_declaration constructor_declaration method singleton_method init_declaration",
    "class": "class_definition class_declaration abstract_class_declaration class_specifier class",
    "interface": "interface_declaration protocol_declaration annotation_type_declaration",
    "struct": "struct_specifier struct_declaration struct_item",
    "union": "union_specifier union_item",
    "enum": "enum_specifier enum_declaration enum_definition enum_item",
    "record": "record_declaration",
    "trait": "trait_item trait_declaration trait_definition",
    "impl": "impl_item",
    "object": "object_definition object_declaration",
    "module": "mod_item module",
    "namespace": "namespace_definition namespace_declaration internal_module",
    "type": "type_spec type_definition type_alias_declaration",
    "macro": "macro_definition",
}
_WORD = {kind: word for word, kinds in _WORDS.items() for kind in kinds.split()}
_PYTHON_WORDS = {**_WORD, "function_definition": "def"}
_WITH_BODY = ("_specifier",)  # `struct point p` is a use of a struct, no definition
_FUNCTIONS = "[(arrow_function) (function_expression) (generator_function)]"
_NAMED_FUNCTIONS = {  # JavaScript and TypeScript give a function a name in these ways too: kind -> (name, value)
    "variable_declarator": ("name", "value"),
    "assignment_expression": ("left", "right"),
    "pair": ("key", "value"),
    "field_definition": ("property", "value"),
    "public_field_definition": ("name", "value"),
}
# `const Card = memo(function Card(props) {...})`, also within another call: what a call is given first.
_WRAPPED = 3  # calls, at most
_WRAPPERS = frozenset(
    "export_statement lexical_declaration variable_declaration expression_statement ambient_declaration"
    " template_declaration type_declaration decorated_definition".split()
)
_ABOVE = re.compile("comment|attribute|annotation|decorator")  # what belongs to the definition below it
MAX_NAME = 80


def read_code(source: Lines, suffix: str) -> list[Section]:
    """One section per definition and per run of other statements, cut further where a definition does not fit.

    One section in all for a language without a grammar, without the extra, and for a file that is too much to parse.
    """
    return from_definitions(source, _definitions(source, suffix))


def _definitions(source: Lines, suffix: str) -> list[Definition]:
    """Every named definition, an outer one before those in it."""
    data = source.text(0, len(source.lines)).encode("utf-8", "replace")
    language = _language(suffix) if len(data) <= MAX_BYTES else None
    if language is None:
        return []
    parser, query = language
    deadline = time.thread_time() + MAX_SECONDS

    def read(offset: int, _: object) -> bytes:
        return _character(data, offset)

    def late(*_: object) -> bool:
        return time.thread_time() > deadline

    import tree_sitter

    try:
        # Given `data` itself, the parser would not ask `late`.
        tree = parser.parse(data) if len(data) <= SHORT else parser.parse(read, progress_callback=late)
    except ValueError:  # it was late
        parser.reset()
        return []
    found = tree_sitter.QueryCursor(query).captures(tree.root_node).get("definition", [])
    nodes = sorted(found, key=lambda node: (node.start_byte, -node.end_byte))
    words = _PYTHON_WORDS if suffix in (".py", ".pyi") else _WORD
    return [_definition(node, name, source.lines) for node in nodes if (name := _name(node, words))]


_characters: dict[bytes, bytes] = {}


def _character(data: bytes, offset: int) -> bytes:
    """The character of UTF-8 at `offset`, always the same object: py-tree-sitter 0.26 never frees what a parser reads."""
    first = data[offset : offset + 1]
    if first < b"\x80":
        return first  # Python has each of these once
    found = data[offset : offset + (2 if first < b"\xe0" else 3 if first < b"\xf0" else 4)]
    return _characters.setdefault(found, found)


@cache
def _language(suffix: str) -> tuple[Any, Any] | None:
    """Parser and query for definitions; None without a grammar. Any, as tree-sitter is not always installed."""
    if suffix not in _BY_SUFFIX:
        return None
    module, function = _BY_SUFFIX[suffix]
    try:
        import tree_sitter

        language = tree_sitter.Language(getattr(importlib.import_module(module), function)())
    except ImportError:
        return None

    def known(kind: str) -> bool:
        return language.id_for_node_kind(kind, True) is not None

    patterns = [f"({kind}{' body: (_)' * kind.endswith(_WITH_BODY)})" for kind in filter(known, _WORD)]
    if known("function_expression"):
        named = ((kind, value) for kind, (_, value) in _NAMED_FUNCTIONS.items() if known(kind))
        patterns.append("(function_expression name: (_))")  # `export default memo(function Card() {...})`
        for kind, value in named:
            inner = _FUNCTIONS
            patterns.append(f"({kind} {value}: {inner})")
            for _ in range(_WRAPPED):
                inner = f"(call_expression arguments: (arguments . {inner}))"
                patterns.append(f"({kind} {value}: {inner})")
    query = tree_sitter.Query(language, f"[{' '.join(patterns)}] @definition")
    return tree_sitter.Parser(language), query


def _name(node: Any, words: Mapping[str, str]) -> str:
    """`class Name`, `function name` and so on; empty for a definition without a name."""
    word = words.get(node.type, "function")
    if node.type == "impl_item":
        named = [node.child_by_field_name(field) for field in ("trait", "type")]
        text = " for ".join(_text(part) for part in named if part)
    elif node.type == "function_definition" and (macro := _before_a_macro(node)):
        word, text = macro
    else:
        part = node.child_by_field_name(_NAMED_FUNCTIONS.get(node.type, ("name",))[0])
        inner = node
        while part is None and (inner := inner.child_by_field_name("declarator")):  # C: `int *name(void)`
            if inner.child_by_field_name("declarator") is None:
                part = inner
        text = _text(part) if part else ""
    if text and (receiver := node.child_by_field_name("receiver")) is not None:
        text = f"{_receiver_type(receiver)}.{text}".lstrip(".")
    return f"{word} {text}" if text else ""


def _receiver_type(receiver: Any) -> str:
    """`Server` of Go's `(s *Server)` and `(s *Server[T])`; empty for another receiver."""
    found = [receiver]
    while found:
        node = found.pop(0)
        if node.type == "type_identifier":
            return _text(node)
        found += node.named_children
    return ""


def _before_a_macro(node: Any) -> tuple[str, str] | None:
    """(word, name) of C++'s `class EXPORT Name {`, which the grammar takes for a function of type `class EXPORT`."""
    kind, name = node.child_by_field_name("type"), node.child_by_field_name("declarator")
    if kind is None or name is None or name.type != "identifier" or not kind.type.endswith(_WITH_BODY):
        return None
    return _WORD[kind.type], _text(name)


def _text(node: Any) -> str:
    return " ".join(node.text.decode("utf-8", "replace").split())[:MAX_NAME]


def _definition(node: Any, name: str, lines: list[str]) -> Definition:
    """The lines of a definition with its `export`, `template <...>`, comments and attributes."""
    while node.parent is not None and node.parent.type in _WRAPPERS:
        node = node.parent
    end = _last_row(node) + 1
    above = node
    while (above := above.prev_named_sibling) and _ABOVE.search(above.type):
        row, column = above.start_point
        apart = node.start_point.row - _last_row(above) > 1
        if apart or lines[row][:column].strip():  # another paragraph, or behind other code on its line
            break
        node = above
    return Definition(node.start_point.row, end, name)


def _last_row(node: Any) -> int:
    row, column = node.end_point
    return int(row - 1 if column == 0 and row > node.start_point.row else row)
