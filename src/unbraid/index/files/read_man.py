"""Manual pages (troff with the macros man or mdoc): the words of each line, by section."""

import re

from unbraid.index.files.chunk import Lines, Section, from_headings

_SUFFIX = re.compile(r"\.(?:[1-9][a-z]{0,4}|man|mdoc)")
_BEGINNING = re.compile(r"(?:(?:[.']\\\".*|[.']|\s*)\n){0,100}[.'](?:TH|Dd|Sh|SH)\b")  # behind comments
_HEADINGS = {"SH": 1, "Sh": 1, "SS": 2, "Ss": 2}
# Macros whose words are text; those of all others steer the look.
_SHOWN = frozenset(
    "B I R BI BR IB IR RB RI SM SB SH SS Sh Ss IP TP TH Nm Nd It Fl Ar Op Pa Cm Li Ic Xr Ql Dq Sq Em Sy Dv Ev Va Fn Ft"
    " Fa Qq Pq Bq Aq An Lk Mt UR MT OP TQ Er".split()
)
_REQUEST = re.compile(r"[.'][ \t]*([A-Za-z]{1,3})(?![A-Za-z])(.*)")
_ESCAPE = re.compile(
    r"\\(?:f(?:\[[^\]]*\]|\([^\s]{2}|.)|s[-+]?\d{1,2}|\*?(?:\((?P<two>[^\s]{2})|\[(?P<name>[^\]]*)\])|(?P<one>.))"
)
_NAMED = {
    "aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "bu": "•", "em": "—", "en": "–", "hy": "-",
    "co": "©", "rs": "\\", "ha": "^", "ti": "~", "mi": "-", "<=": "≤", ">=": "≥", "->": "→",
}  # fmt: skip
_ONE = {"-": "-", "e": "\\", " ": " ", "~": " ", "0": " ", "\\": "\\", "'": "'", "`": "`", ".": "."}


def is_man(text: str, suffix: str) -> bool:
    """Whether a text with this suffix is a manual page: `release-1.2` and `log.1` are none."""
    return bool(_SUFFIX.fullmatch(suffix) and _BEGINNING.match(text[:20_000]))


def read_man(lines: list[str]) -> tuple[Lines, list[Section]]:
    """The lines without what steers their look, each with its place in the file, and their sections. Never raises."""
    shown = []
    headings = []
    for number, line in enumerate(lines):
        macro, text = "", line
        if found := _REQUEST.fullmatch(line):
            macro, text = found[1], found[2] if found[1] in _SHOWN else ""
            # Alternating fonts join their words: .BR ls (1) is ls(1).
            words = re.findall(r'"([^"]*)"|(\S+)', text)
            text = ("" if len(macro) == 2 and set(macro) <= set("BIR") else " ").join(
                a or b for a, b in words
            )
        elif line.startswith((".", "'\\")):  # a comment
            text = ""
        text = _ESCAPE.sub(_letters, text).strip() if "\\" in text else text.rstrip()
        shown.append(text)
        if macro in _HEADINGS and text:
            headings.append((number, _HEADINGS[macro], text))
    return Lines(shown), from_headings(headings, len(shown))


def _letters(escape: re.Match[str]) -> str:
    """What an escape shows; nothing for one that steers."""
    name = escape["two"] or escape["name"]
    return _NAMED.get(name, "") if name else _ONE.get(escape["one"] or "", "")
