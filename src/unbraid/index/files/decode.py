"""The characters of a text file: by its mark, by UTF-8, by what it declares, and else by what fits best."""

import codecs
import re

from unbraid.errors import DataError
from unbraid.runtime.text_language import detect_surely

_MARKS = (  # UTF-32's begin as UTF-16's do
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Python's coding line (PEP 263), as editors and other languages write it too; XML; HTML.
_DECLARED = re.compile(
    rb"^[ \t\f]*(?:#|//|/\*|;|--|%|\.\.).*?coding[:=][ \t]*([-\w.]+)|<\?xml[^>]*?encoding=[\"']([-\w.:]+)"
    rb"|<meta[^>]*?charset=[\"']?([-\w.:]+)",
    re.IGNORECASE | re.MULTILINE,
)
_DECLARED_WITHIN = 1024  # bytes; a coding line is one of the first two lines
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b")) + b"\x7f"
_MOST_CONTROL = 0.003  # share of control characters in text that is not UTF-8; it is .1 in random bytes
_SAMPLE = 32768  # bytes that are looked at to find an encoding

# What is used today or was used widely. Fewer candidates mean fewer mistakes: charset-normalizer took Cyrillic for
# Japanese with all of its 90.
_CANDIDATES = (
    "cp1252 cp1250 cp1251 koi8_r cp932 gb18030 big5 euc_jp cp949 cp1253 cp1254 cp1255 cp1256 cp1257 cp874 cp866"
    " iso8859_2 mac_roman"
).split()
# Of the encodings of Latin letters, which it confuses, the one is taken in which the words are those of a language that
# is written in it. The first one unless another is surer by _SURER.
_LATIN = {
    "cp1252": "en de fr es it pt ca nl sv da no fi id ms fil sw",
    "cp1250": "pl cs sk hr hu ro",
    "iso8859_2": "pl cs sk hr hu ro",
    "cp1254": "tr",
    "cp1257": "lv lt",
    "mac_roman": "en de fr es it pt ca nl sv da no fi",
}
_SURER = 0.1
_SIGNS = frozenset("“”„‘’‚«»‹›–—…•·°§©®™€£¿¡×\xa0\xad")
# Looked for at the beginnings of words alone: a word of 32 KB took seconds otherwise.
_FOREIGN_WORD = re.compile(r"(?<!\w)\w*[^\x00-\x7f][^\s\x00-\x2f]*")


def decode(data: bytes) -> tuple[str, str]:
    """The text of a file, and the encoding that had to be assumed, "" for UTF-8 and where the file says it.

    Raises DataError, whose message is the reason, for what is no text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _strictly(data, name), ""
    if b"\0" not in data:
        try:
            return data.decode(), ""
        except UnicodeDecodeError:
            pass
        if (text := _as_declared(data)) is not None:
            return text, ""
    name = _found(data)
    text = data.decode(name, "replace")  # beyond the sample, or in a file that was cut within a character
    if text.count("\ufffd") > len(text) // 100 + 1:
        raise DataError("unknown encoding")
    if "\0" in text:
        raise DataError("binary")
    return text, name


def is_binary(head: bytes, *, final: bool = True) -> bool:
    """Whether a file with this beginning is no text; `final=False` says that the file goes on."""
    if head.startswith(tuple(mark for mark, _ in _MARKS)):
        return False
    if b"\0" in head:
        return _wide(head) is None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final)
    except UnicodeDecodeError:
        return _controls(head) > _MOST_CONTROL
    return False


def _strictly(data: bytes, name: str) -> str:
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        raise DataError(f"broken {name.upper().removesuffix('-SIG')}") from None
    if "\0" in text:
        raise DataError("binary")
    return text


def _as_declared(data: bytes) -> str | None:
    """The text in the encoding that its first lines name, None where they do not or it does not fit."""
    head = b"\n".join(data[:_DECLARED_WITHIN].splitlines()[:2])
    found = _DECLARED.search(head) or re.search(
        rb"()()<meta[^>]*?charset=[\"']?([-\w.:]+)", data[:_DECLARED_WITHIN], re.IGNORECASE
    )
    if not found:
        return None
    name = next(one for one in found.groups() if one).decode().lower()
    try:
        return data.decode("cp1252" if codecs.lookup(name).name == "iso8859-1" and _c1(data) else name)
    except (LookupError, ValueError):  # LookupError for "rot13" too, which is no encoding of text
        return None


def _c1(data: bytes) -> bool:
    """Whether there are bytes that are control characters in Latin-1 and quotes in Windows' extension of it."""
    return any(128 <= byte < 160 for byte in set(data))


def _found(data: bytes) -> str:
    """The encoding in which `data` reads best."""
    if b"\0" in data:
        name = _wide(data)
        if name is None:
            raise DataError("binary")
        return name
    if _controls(data[:_SAMPLE]) > _MOST_CONTROL:
        raise DataError("binary")
    sample = _telling(data)
    if _is_korean(sample):
        return "cp949"
    # Loaded here: it takes as long as all else that a search loads.
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=list(_CANDIDATES)).best()
    if (best is None or best.encoding in _LATIN) and (latin := _latin(sample)):
        return latin
    if best is None:
        raise DataError("unknown encoding")
    return str(best.encoding)


def _telling(data: bytes) -> bytes:
    """The lines that tell most: those with bytes above 127, as many as make a sample."""
    lines, size = [], 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line[:_SAMPLE])
            size += len(line)
            if size >= _SAMPLE:
                break
    return b"".join(lines)[:_SAMPLE]


def _latin(sample: bytes) -> str | None:
    """The encoding of Latin letters that gives words of a language that is written in it, None where none can be."""
    scores = {}
    for name, languages in _LATIN.items():
        try:
            text = sample.decode(name)
        except UnicodeDecodeError:
            continue
        # The words with such letters alone, since names of one language stand in a text of another; and the text, since
        # three words look like many languages.
        found = [detect_surely(part) for part in (" ".join(_FOREIGN_WORD.findall(text)), text)]
        sure = max(sure if language in languages.split() else 0.0 for language, sure in found)
        usual = sum(map(_usual, text, " " + text)) / sum(character > "\x7f" for character in text)
        scores[name] = sure + usual
    if not scores:
        return None
    first = next(iter(scores))
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > scores[first] + _SURER else first


def _is_korean(sample: bytes) -> bool:
    """Whether nearly all that is not ASCII is Hangul in EUC-KR, which charset-normalizer takes for Thai in short texts.

    A third of Chinese and other text lies outside of its rows of Hangul.
    """
    text = sample.decode("euc_kr", "replace")
    beyond = [character for character in text if character > "\x7f"]
    return sum("가" <= character <= "힣" for character in beyond) > 0.9 * max(2, len(beyond))


def _usual(character: str, before: str) -> bool:
    """Whether a character beyond ASCII is one of writing: a sign of it, or a letter, no capital within a word."""
    if character <= "\x7f":
        return False
    return character in _SIGNS or (character.isalpha() and not (character.isupper() and before.islower()))


def _controls(data: bytes) -> float:
    """The share of control characters that no text has."""
    return 1 - len(data.translate(None, _CONTROL)) / max(1, len(data))


def _wide(data: bytes) -> str | None:
    """UTF-16 without its mark, told by zeros at every other byte of mostly Latin text; None for anything else."""
    head = data[: _SAMPLE - _SAMPLE % 2]
    if len(head) < 4 or len(data) % 2 and len(data) <= _SAMPLE:
        return None
    even, odd = head[::2].count(0) / (len(head) // 2), head[1::2].count(0) / (len(head) // 2)
    name = "utf-16-le" if odd > 0.4 and even < 0.01 else "utf-16-be" if even > 0.4 and odd < 0.01 else None
    if name is None:
        return None
    text = head.decode(name, "replace")
    seen = sum(one.isprintable() or one in "\t\r\n\f" for one in text)
    return name if seen > 0.99 * len(text) else None
