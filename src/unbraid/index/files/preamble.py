"""What stands before the code of a file and says little of it: a licence, imports, includes, a package's name.

Languages share these words, so there is one rule for all of them. A passage with a line of anything else is no preamble,
nor is one with a comment of several lines without a word of a licence: that may say what the file is for.
"""

import re
from collections.abc import Iterator

_IMPORT = re.compile(
    r"""from\s+\S+\s+import\b | import\b(?!\() | export\s+(?:type\s+)?(?:\*|\{[^={}]*(?:$|\}\s*from\b))
    | (?:const|let|var|local)\s+[\w${}\s,:]+=\s*require\b | (?:require|include)\w*\b\s*\(?\s*["'] | use\s+[\w:\\{*]+
    | pub\s+use\b | (?:global\s+)?using\s+[\w.:\s]+[;=] | extern\s+crate\b | (?:package|namespace|module)\s+[\w.:\\]+\s*;?$
    | \#\s*(?:include|import|pragma\s+once|ifndef|define\s+\w+_H_*$|endif)\b | \#! | library\(
    | ["']use\s+\w+["'];?$ | <\?php$ | __all__\b
    | (?:try|finally|else|except\s+\(?\w*(?:Import|ModuleNotFound)Error\b.*|if\s+(?:\w+\.)?TYPE_CHECKING)\s*:(?:\s*\#.*)?$""",
    re.VERBOSE,
)
_COMMENT = re.compile(r"//|/\*|\*(?:$|[\s/])|#(?!\w)|--|;|%|<!--")
_BLOCKS = {"/*": "*/", "<!--": "-->"}
_LICENCE = re.compile(
    r"\blicen[cs]e[ds]?\b|\bcopyright\b|\bSPDX-|\ball rights reserved\b|\bpermission is hereby granted\b"
    r"|\bredistribution and use\b|\bwithout warrant",
    re.IGNORECASE,
)
FEW = 8  # words of a comment that names a group of imports or sets a tool up


def is_preamble(code: str) -> bool:
    """Whether a passage of code holds nothing but imports and what stands beside them: licences, short comments."""
    found, comment = False, ""
    for kind, line in [*_lines(code), ("end", "")]:
        if kind == "comment":
            comment += f" {line}"
            continue
        if comment:
            licence = bool(_LICENCE.search(comment))
            if not licence and len(comment.split()) > FEW:
                return False
            found, comment = found or licence, ""
        if kind == "code":
            return False
        found = found or kind == "import"
    return found


def _lines(code: str) -> Iterator[tuple[str, str]]:
    """What each line that is not blank belongs to, with its text; the first line of code is the last."""
    until, depth = "", 0  # what ends the comment that is open, and the brackets of an import that are
    for line in filter(None, map(str.strip, code.replace("\\\n", " ").split("\n"))):
        if until:
            yield "comment", line
            until = "" if until in line else until
        elif depth > 0 or _IMPORT.match(line):
            yield "import", line
            depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
        elif _COMMENT.match(line):
            yield "comment", line
            start = next((start for start in _BLOCKS if line.startswith(start)), "")
            until = _BLOCKS[start] if start and _BLOCKS[start] not in line[len(start) :] else ""
        else:
            yield "code", line
            return
