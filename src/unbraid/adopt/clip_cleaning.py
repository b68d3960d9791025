"""What open_clip does to a text before its tokenizer, as normalizers of the tokenizers library.

open_clip repairs text with ftfy, resolves HTML entities twice, then lower-cases it or takes its punctuation out. All of ftfy
that looks at single characters is here, and the entities that texts carry most. What looks at the whole text is not: text
that was decoded with the wrong encoding, and the other 2,000 entities, stay as they are.
"""

import re
import string
from typing import Literal

from tokenizers import Regex, normalizers
from tokenizers.normalizers import Normalizer

Clean = Literal["lower", "whitespace", "canonicalize"]
# HTML reads these without their semicolon too. The ampersand comes twice, as texts are escaped twice at times.
ENTITIES = [
    ("&amp;?", "&"),
    ("&amp;?", "&"),
    ("&lt;?", "<"),
    ("&gt;?", ">"),
    ("&quot;?|&#34;?|&#x22;?", '"'),
    ("&apos;|&#39;?|&#x27;?", "'"),
    ("&nbsp;?|&#160;?", " "),
]
PUNCTUATION = f"[{re.escape(string.punctuation)}]"


def cleaning(clean: Clean) -> list[Normalizer]:
    """The steps of open_clip's cleaning function of this name."""
    steps = [*_replacements(ENTITIES), *_of_single_characters()]
    if clean == "canonicalize":
        steps += _replacements([("_", " "), (PUNCTUATION, "")])
    if clean in ("lower", "canonicalize"):
        steps += lower_case()
    return [*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]


def lower_case() -> list[Normalizer]:
    """Lower case as Python has it: a sigma at the end of a word has a form of its own."""
    cased, between = r"[\p{Lu}\p{Ll}\p{Lt}]", r"[\p{Mn}\p{Me}\p{Cf}\p{Lm}\p{Sk}'.:’·]"
    at_end = f"(?<={cased}|{cased}{between})Σ(?!{between}*{cased})"
    return [normalizers.Replace(Regex(at_end), "ς"), normalizers.Lowercase()]


def _of_single_characters() -> list[Normalizer]:
    """What ftfy does to single characters, from its own tables and in its order."""
    from ftfy import chardata

    latin = bytes(range(0x80, 0xA0)).decode("latin-1")  # control characters, which stand for those of Windows
    windows = {one: one.encode("latin-1").decode("sloppy-windows-1252") for one in latin}
    tables = [
        {one: other for one, other in windows.items() if one != other},
        {chr(one): other for one, other in chardata.LIGATURES.items()},
        {chr(one): other for one, other in chardata.WIDTH_MAP.items()},
    ]
    removed = "".join(rf"\x{{{one:x}}}" for one in chardata.CONTROL_CHARS)
    return [
        normalizers.Replace(Regex(r"\x1b\[[\d;]*[a-zA-Z]"), ""),  # colours of a terminal
        *(normalizers.Replace(one, other) for table in tables for one, other in table.items()),
        *_replacements([(chardata.DOUBLE_QUOTE_RE.pattern, '"'), (chardata.SINGLE_QUOTE_RE.pattern, "'")]),
        normalizers.Replace(Regex(f"[{removed}]"), ""),
        normalizers.NFC(),
    ]


def _replacements(pairs: list[tuple[str, str]]) -> list[Normalizer]:
    return [normalizers.Replace(Regex(pattern), content) for pattern, content in pairs]
