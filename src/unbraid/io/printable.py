"""Text of files as it is shown: nothing in it steers a terminal, turns the order of letters or hides."""

import unicodedata

_BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(text: str) -> str:
    """The text as one line: control, bidirectional and tag characters become "·", tabs become spaces.

    Lone surrogates, as in names of files that are not UTF-8, are escaped.
    """
    return without_controls(text.expandtabs(4))


def without_controls(text: str, keep: str = "") -> str:
    """`printable`, but the characters of `keep`, such as tabs and line ends, stay as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one in keep else _shown(one) for one in text)


def _shown(one: str) -> str:
    category = unicodedata.category(one)
    if category == "Cs":
        return f"\\x{ord(one) - 0xDC00:02x}" if 0xDC80 <= ord(one) <= 0xDCFF else f"\\u{ord(one):04x}"
    # Tag characters are ASCII that nobody sees but a language model reads.
    if category in ("Cc", "Zl", "Zp") or one in _BIDIRECTIONAL or 0xE0000 <= ord(one) <= 0xE007F:
        return "·"
    return one
