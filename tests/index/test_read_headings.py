import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.files.read import read_text_chunks
from unbraid.index.files.read_headings import HEADINGS, latex_headings, org_headings, rst_headings
from unbraid.index.files.read_man import is_man, read_man

TEXT = "some words of this part " * 20


def test_org() -> None:
    lines = "#+title: x\n* TODO [#A] Plan the trip :work:home:\n** Pack\n#+begin_src\n* no\n#+end_src\n*bold* no\n* Last".split(
        "\n"
    )
    assert list(org_headings(lines)) == [(1, 1, "Plan the trip"), (2, 2, "Pack"), (7, 1, "Last")]


def test_rst() -> None:
    text = "=====\nTitle\n=====\n\nSub\n---\ntext\n-----\n\n====  ====\na     b\n====  ====\n\n    Code\n    ----\n\nAgain\n-----"
    assert list(rst_headings(text.split("\n"))) == [(0, 1, "Title"), (4, 2, "Sub"), (16, 2, "Again")]


def test_latex() -> None:
    text = "% \\section{no}\n\\chapter[short]{One \\emph{big} part} \\label{x}\n\\subsection*{Two}\n\\sectionmark{no}"
    assert list(latex_headings(text.split("\n"))) == [(1, 2, "One big part"), (2, 4, "Two")]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".org", f"* One\n{TEXT}\n** Two\n{TEXT}"),
        (".rst", f"One\n===\n\n{TEXT}\n\nTwo\n---\n\n{TEXT}"),
        (".tex", f"\\section{{One}}\n{TEXT}\n\\subsection{{Two}}\n{TEXT}"),
        (".3", f".TH X 3\n.SH One\n{TEXT}\n.SS Two\n{TEXT}"),
    ],
)
def test_headings_are_the_context_of_what_stands_below(suffix: str, text: str) -> None:
    assert read_text_chunks(text, suffix)[-1].context == ("One",)


MAN = r""".\" a comment
.TH LS 1 2024
.SH NAME
ls \- list "things"
.SH OPTIONS
.TP
\fB\-a\fR, \fB\-\-all\fR
show \(lqall\(rq of it \s-1now\s0
.ta 8 16
.BR ls (1),
"""


def test_a_manual_page_is_its_words_on_their_lines() -> None:
    lines, _ = read_man(MAN.split("\n"))
    assert lines.lines[3] == 'ls - list "things"'
    assert lines.lines[6:10] == ["-a, --all", "show “all” of it now", "", "ls(1),"]


def test_a_number_behind_a_dot_makes_no_manual_page() -> None:
    assert is_man(MAN, ".1") and is_man(".Dd May 1\n.Sh NAME\n", ".3p")
    assert not is_man(MAN, ".txt") and not is_man("release notes\n.TH\n", ".2")


@pytest.mark.parametrize("suffix", [*HEADINGS, ".1"])
@given(text=st.text(alphabet="ab*#+:=- \\{}[]%\n.\"'SHT", max_size=120))
def test_any_text_is_read_with_its_lines(suffix: str, text: str) -> None:
    text = ".TH A\n" + text if suffix == ".1" else text
    count = len(text.split("\n"))
    for chunk in read_text_chunks(text, suffix):
        assert 1 <= (chunk.first_line or 0) <= (chunk.last_line or 0) <= count
