"""Whether the rows of a data set are code: their programming language tells."""

from unbraid.io.jsonl import Line

# Values of `lang` that make a positive code. Names that are also language tags (cs, pl, ts, sh) are left out.
CODE_LANGUAGES = frozenset(
    """
    bash c c# c++ clojure cpp csharp css dart elixir erlang fortran go golang haskell java javascript js julia kotlin
    lua matlab objective-c ocaml perl php powershell python python3 r ruby rust scala shell sql swift typescript zig
    """.split()
)


def is_code(lines: list[Line], of_anchor: bool = False) -> bool:
    """Whether most rows name a programming language for the positive or, as in "java>csharp", for the anchor."""
    count = 0
    for line in lines:
        value = str(line.row.get("lang") or line.row.get("language") or "").lower()
        first, _, last = value.rpartition(">")
        count += (first if of_anchor else last) in CODE_LANGUAGES
    return 2 * count > len(lines)
