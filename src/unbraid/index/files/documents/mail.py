"""Messages: .eml, .mbox (many of them) and Outlook's .msg; attachments are named, not read."""

import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header
from email.message import Message
from io import BytesIO
from typing import Any

from unbraid.errors import DataError
from unbraid.index.files.chunk import split_lines
from unbraid.index.files.decode import decode
from unbraid.index.files.documents.parts import OLE, Document, Part, Refused
from unbraid.index.files.read_html import read_html

_SHOWN = ("Subject", "From", "To", "Cc", "Date")
_FIELD = re.compile(rb"[!-9;-~]{1,80}:[ \t\r\n]")
# A message of an mbox begins.
_FROM = re.compile(rb"^From [^\n]{0,1000}\r?\n(?=[!-9;-~]{1,80}:)", re.MULTILINE)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_MAX_PARTS = 1000
_MAX_MESSAGES = 100_000


def read_eml(data: bytes, document: Document) -> None:
    """Numbers are lines of its text. Raises Refused."""
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not _FIELD.match(data):
        raise Refused("not a message inside")
    _add_message(document.part("line"), message_from_bytes(data), None)


def read_mbox(data: bytes, document: Document) -> None:
    """Numbers are messages. Raises Refused."""
    starts = list(_FROM.finditer(data))
    if not starts or data[: starts[0].start()].strip():
        raise Refused("not an mbox inside")
    if len(starts) > _MAX_MESSAGES:
        raise Refused(f"over {_MAX_MESSAGES:,} messages")
    part = document.part("message")
    ends = [start.start() for start in starts[1:]] + [len(data)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        content = _QUOTED_FROM.sub(rb"\1", data[start.end() : end])
        _add_message(part, message_from_bytes(content), number)


def _add_message(part: Part, message: Message, number: int | None) -> None:
    about = {name: _header(message.get(name, "")) for name in _SHOWN}
    bodies: list[str] = []
    attached: list[str] = []
    _walk(message, bodies, attached)
    _add(part, about, "\n\n".join(bodies), attached, number)


def _add(part: Part, about: dict[str, str], text: str, attached: list[str], number: int | None) -> None:
    subject = about["Subject"]

    def add(line: str, *, level: int | None = None, apart: bool = False) -> None:
        part.add(line, number, level=level, apart=apart)

    if subject:
        add(subject, level=1)
    else:
        part.untitled()
    for name, value in about.items():
        if value and name != "Subject":
            add(f"{name}: {value}", apart=not subject and name == "From")
    blank = True
    for line in split_lines(text):
        add(line, apart=blank)
        blank = not line.strip()
    if attached:
        add(f"Attached: {', '.join(attached)}", apart=True)


def _walk(message: Message, bodies: list[str], attached: list[str]) -> None:
    """Add the texts of a message, of alternatives the plain one, and the names of what is attached."""
    waiting = [message]
    for _ in range(_MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        inner = part.get_payload()
        kind = part.get_content_type()
        if isinstance(inner, list):
            parts = [one for one in inner if isinstance(one, Message)]
            if kind == "multipart/alternative":
                plain = [one for one in parts if one.get_content_type() == "text/plain"]
                parts = plain[:1] or parts[-1:]
            waiting += reversed(parts)
            continue
        name = _header(str(part.get_filename() or ""))
        if name or part.get_content_disposition() == "attachment":
            attached.append(name or kind)
        elif kind in ("text/plain", "text/html"):
            text = _text(part)
            bodies.append("\n".join(read_html(text)[0].lines) if kind == "text/html" else text)


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    charset = part.get_param("charset")
    return decode_as(content, charset if isinstance(charset, str) else "")


def decode_as(content: bytes, charset: str) -> str:
    """The text in the encoding that is said, else as decode.py reads it."""
    try:
        return content.decode(charset) if charset else decode(content)[0]
    except (LookupError, ValueError):
        pass
    try:
        return decode(content)[0]
    except DataError:
        return content.decode("latin-1")


def _header(value: object) -> str:
    """A header as a person reads it."""
    text = str(value)[:10_000]
    try:
        pieces = decode_header(text)
    except (ValueError, LookupError):
        pieces = [(text, None)]
    words = [
        decode_as(piece, charset or "ascii") if isinstance(piece, bytes) else str(piece)
        for piece, charset in pieces
    ]
    return " ".join("".join(words).split())


# -- Outlook -----------------------------------------------------------------------------------------------

# Properties of a message (MS-OXPROPS): name -> ids of the streams that may hold it.
_PROPERTIES = {"Subject": "0037", "From": "0C1A", "To": "0E04", "Cc": "0E03", "body": "1000", "html": "1013"}
_SENT = 0x0039  # PidTagClientSubmitTime
_MAX_STREAM = 16 * 1024**2


def read_msg(data: bytes, document: Document) -> None:
    """Numbers are lines of its text. Raises Refused."""
    import olefile

    if not data.startswith(OLE):
        raise Refused("not a msg inside")
    with olefile.OleFileIO(BytesIO(data)) as ole:
        if not ole.exists("__properties_version1.0"):
            raise Refused("not a msg inside")
        found = {name: _property(ole, "", number) for name, number in _PROPERTIES.items()}
        sent = _sent(ole.openstream("__properties_version1.0").read(_MAX_STREAM))
        folders = {entry[0] for entry in ole.listdir() if entry[0].startswith("__attach_version1.0_")}
        attached = [
            _property(ole, folder, "3707") or _property(ole, folder, "3704") for folder in sorted(folders)
        ]
    about = {name: found.get(name, "") for name in _SHOWN} | {"Date": sent}
    text = found["body"] or "\n".join(read_html(found["html"])[0].lines)
    _add(document.part("line"), about, text, list(filter(None, attached)), None)


def _property(ole: Any, folder: str, number: str) -> str:
    """A text of a message or an attachment: in UTF-16 (001F), in another encoding (001E), or as bytes (0102)."""
    for kind, charset in (("001F", "utf-16-le"), ("001E", ""), ("0102", "")):
        path = [*filter(None, [folder]), f"__substg1.0_{number}{kind}"]
        if ole.exists(path):
            content = ole.openstream(path).read(_MAX_STREAM)
            return decode_as(content, charset).replace("\0", "")
    return ""


def _sent(properties: bytes) -> str:
    """When a message was sent, by its table of properties: entries of 16 bytes behind 32."""
    for place in range(32, len(properties) - 15, 16):
        kind, number = (int.from_bytes(properties[at : at + 2], "little") for at in (place, place + 2))
        if (kind, number) == (0x0040, _SENT):
            ticks = int.from_bytes(properties[place + 8 : place + 16], "little")
            try:
                return str((datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)).date())
            except OverflowError:
                return ""
    return ""
