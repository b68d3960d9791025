import importlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.index.files import read_code
from unbraid.index.files.chunk import Lines
from unbraid.index.files.read import read_text_chunks
from unbraid.index.files.read_code import GRAMMARS
from unbraid.items import CODE_SUFFIXES

SUFFIXES = frozenset(suffix for suffixes in GRAMMARS for suffix in suffixes.split())
tree = importlib.import_module("unbraid.index.files.read_code")
pytest.importorskip("tree_sitter", reason="pip install 'unbraid[documents]'")

STATEMENT = "    total = total + first_value + second_value;\n"
LONG = STATEMENT * 10  # longer than half a chunk, so that two of them never share one
SAMPLES = {  # suffix -> (a text with {0} where long bodies stand, the contexts of its chunks)
    ".js": (
        "export class A {{\n  m() {{\n{0}  }}\n\n  n() {{\n{0}  }}\n}}\n\nconst f = (x) => {{\n{0}{0}{0}}};\n",
        ["", "class A", "", "function f"],
    ),
    ".ts": (
        (
            "namespace N {{\n  export function f(x: number): void {{\n{0}  }}\n  interface I {{\n    a: string;\n  }}\n"
            "  function g() {{\n{0}  }}\n}}\n"
        ),
        ["", "namespace N", "namespace N"],
    ),
    ".java": (
        "class A {{\n  void m() {{\n{0}  }}\n\n  @Override\n  void n() {{\n{0}  }}\n}}\n",
        ["", "class A"],
    ),
    ".c": ("static int *f(int x)\n{{\n{0}{0}{0}}}\n\nint g(void)\n{{\n{0}}}\n", ["", "function f", ""]),
    ".hpp": (
        (
            "#ifndef A\n#define A\nnamespace n {{\nclass EXPORT B {{\n  void m() {{\n{0}  }}\n\n  int k() {{\n{0}  }}\n"
            "}};\n}}  // namespace n\n#endif\n"
        ),
        ["", "namespace n > class B"],
    ),
    ".cs": (
        "namespace N {{\n  class A {{\n    void M() {{\n{0}    }}\n    void K() {{\n{0}    }}\n  }}\n}}\n",
        ["", "namespace N > class A"],
    ),
    ".go": ("package p\n\nfunc (s *S) M() {{\n{0}{0}{0}}}\n\nfunc f() {{\n{0}}}\n", ["", "method S.M", ""]),
    ".rs": (
        "impl Draw for Shape {{\n  fn a() {{\n{0}  }}\n\n  #[inline]\n  fn b() {{\n{0}  }}\n}}\n",
        ["", "impl Draw for Shape"],
    ),
    ".rb": (
        "module M\n  class A\n    def m\n{0}    end\n\n    def k\n{0}    end\n  end\nend\n",
        ["", "module M > class A"],
    ),
    ".php": (
        "<?php\nclass A {{\n  function m() {{\n{0}  }}\n\n  function k() {{\n{0}  }}\n}}\n",
        ["", "class A"],
    ),
    ".sh": ("f() {{\n{0}{0}{0}}}\n\ng() {{\n{0}}}\n", ["", "function f", ""]),
    ".kt": ("class A {{\n  fun m() {{\n{0}  }}\n\n  fun k() {{\n{0}  }}\n}}\n", ["", "class A"]),
    ".swift": ("class A {{\n  func m() {{\n{0}  }}\n\n  func k() {{\n{0}  }}\n}}\n", ["", "class A"]),
    ".scala": ("object A {{\n  def m() = {{\n{0}  }}\n\n  def k() = {{\n{0}  }}\n}}\n", ["", "object A"]),
    ".lua": ("function f()\n{0}{0}{0}end\n\nfunction M.g()\n{0}end\n", ["", "function f", ""]),
}


def test_every_grammar_is_sampled_and_its_suffixes_are_code() -> None:
    sampled = {suffixes for suffixes in GRAMMARS for suffix in SAMPLES if suffix in suffixes.split()}
    assert set(GRAMMARS) - sampled == {".tsx", ".py .pyi"}  # Python is tested below
    assert SUFFIXES <= CODE_SUFFIXES


@pytest.mark.parametrize("suffix", SAMPLES)
def test_code_is_cut_at_definitions_and_the_context_names_what_holds_them(suffix: str) -> None:
    sample, contexts = SAMPLES[suffix]
    body = STATEMENT.replace(
        ";", "" if suffix in (".go", ".rb", ".sh", ".kt", ".swift", ".scala", ".lua") else ";"
    )
    parts = read_text_chunks(sample.format(body * 10), suffix)
    assert [" > ".join(part.context) for part in parts] == contexts


def test_comments_and_attributes_go_with_what_they_stand_above() -> None:
    text = f"use a;\n\nfn f() {{\n{LONG}}}\n\n// Why g.\n#[inline]\nfn g() {{\n{LONG}}}\n\n// Apart.\n\nfn h() {{\n{LONG}}}\n"
    firsts = [part.first_line for part in read_text_chunks(text, ".rs")]
    assert [text.split("\n")[first - 1] for first in firsts if first] == ["use a;", "// Why g.", "// Apart."]


def test_what_follows_a_definition_is_not_under_its_name() -> None:
    text = f"class A {{\n  m() {{\n{LONG}  }}\n\n  k() {{\n{LONG}  }}\n}}\n\nstart(new A(), {{\n{LONG}}});\n"
    assert [part.context for part in read_text_chunks(text, ".js")] == [(), ("class A",), ()]


def test_functions_within_a_module_pattern_are_found() -> None:
    text = f"(function () {{\n  function one() {{\n{LONG}  }}\n\n  var two = function () {{\n{LONG}  }};\n}})();\n"
    assert [part.snippet.strip().split("\n")[0] for part in read_text_chunks(text, ".js")] == [
        "(function () {",
        "var two = function () {",
    ]


def test_without_the_extra_code_is_split_at_blank_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SAMPLES[".js"][0].format(LONG)
    plain = read_text_chunks(text, ".txt")
    assert read_text_chunks(text, ".js") != plain
    monkeypatch.setattr(tree, "_language", lambda suffix: None)
    assert read_text_chunks(text, ".js") == plain


def test_a_parse_that_takes_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SAMPLES[".js"][0].format(LONG * 200)
    monkeypatch.setattr(tree, "MAX_SECONDS", -1.0)
    assert read_text_chunks(text, ".js") == read_text_chunks(text, ".txt")
    monkeypatch.undo()
    assert read_text_chunks(text, ".js") != read_text_chunks(text, ".txt")  # the parser is fit for use again


def test_a_long_file_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SAMPLES[".js"][0].format(LONG)
    monkeypatch.setattr(tree, "MAX_BYTES", len(text) - 1)
    assert read_text_chunks(text, ".js") == read_text_chunks(text, ".txt")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(sorted(SUFFIXES)))
def test_no_text_makes_it_fail(data: bytes, suffix: str) -> None:
    text = data.decode("utf-8", "replace")
    parts = read_text_chunks(text, suffix)
    assert "".join("".join(part.snippet for part in parts).split()) == "".join(text.split())


def named(lines: str, opening: str, closing: str, suffix: str) -> tuple[str, ...]:
    """The context of the second chunk of a long definition."""
    body = "".join(lines.format(number) for number in range(40))
    return read_text_chunks(f"{opening}\n{body}{closing}\n", suffix)[1].context


JS, GO, PY = (
    "  const v{0} = compute({0}) + x\n",
    "\tx{0} := compute({0}) + y\n",
    "    x{0} = compute({0}) + y\n",
)


@pytest.mark.parametrize(
    ("lines", "opening", "closing", "suffix", "name"),
    [
        (JS, "export const Card = memo(() => {", "})", ".tsx", "function Card"),
        (JS, "const Box = React.forwardRef((props, ref) => {", "})", ".jsx", "function Box"),
        (JS, "export default memo(forwardRef(function Card(p, ref) {", "}))", ".tsx", "function Card"),
        (JS, "export const useStore = create(devtools((set) => {", "}))", ".ts", "function useStore"),
        (GO, "func (s *Server) Run() error {", "}", ".go", "method Server.Run"),
        (GO, "func (b Box[T]) Run() error {", "}", ".go", "method Box.Run"),
        (PY, 'print "x"\n\n\ndef work():', "", ".py", "def work"),
        (PY, "template = t'x'\ntype X[T] = list[T]\n\n\ndef work():", "", ".py", "def work"),
        (PY, "try: pass\nexcept A, e: pass\n\n@deco\nclass Work(object):", "", ".py", "class Work"),
    ],
)
def test_a_definition_is_named_in_every_form(
    lines: str, opening: str, closing: str, suffix: str, name: str
) -> None:
    assert named(lines, opening, closing, suffix) == (name,)


@pytest.mark.parametrize("extra", ["", 'print "Python 2"\n'])
def test_a_function_is_not_glued_to_the_class_before_it(extra: str) -> None:
    text = f"{extra}class A: pass\ndef one(): return 1\ndef two(): return 2\n"
    assert [part.snippet.split("\n")[-1] for part in read_text_chunks(text, ".py")] == [
        "class A: pass",
        "def two(): return 2",
    ]


def test_a_long_file_is_parsed_as_a_short_one_is_and_keeps_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tree_sitter", reason="pip install 'unbraid[documents]'")
    text = "".join(f"function größe{n}() {{\n  return '数据 😀 {n}';\n}}\n" for n in range(40))
    whole = read_code.read_code(Lines(text.split("\n")), ".js")
    monkeypatch.setattr(read_code, "SHORT", 0)
    assert read_code.read_code(Lines(text.split("\n")), ".js") == whole and len(whole) > 30
    data = text.encode()
    for one in "ö数😀f":
        places = [place for place in range(len(data)) if data.startswith(one.encode(), place)]
        assert len({id(read_code._character(data, place)) for place in places}) == 1
