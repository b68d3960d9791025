"""Messages: .eml, and .mbox with many of them."""

import re
from email import message_from_bytes
from email.header import decode_header
from email.message import Message
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import TypeAlias

from unbraid.errors import DataError
from unbraid.index.files.chunk import split_lines
from unbraid.index.files.decode import decode
from unbraid.index.files.documents.parts import Document, Part, Refused
from unbraid.index.files.read_html import read_html

SHOWN = ("Subject", "From", "To", "Cc", "Date")
_FIELD = re.compile(rb"[!-9;-~]{1,80}:[ \t\r\n]")
# A message of an mbox begins.
_FROM = re.compile(rb"^From [^\n]{0,1000}\r?\n(?=[!-9;-~]{1,80}:)", re.MULTILINE)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_MAX_PARTS = 1000
_MAX_MESSAGES = 100_000
Attachment: TypeAlias = tuple[str, bytes]  # its name and content


def read_eml(data: bytes, document: Document) -> None:
    """Numbers are lines of its text. Raises Refused."""
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not _FIELD.match(data):
        raise Refused("not a message inside")
    _add_message(document, document.part("line"), message_from_bytes(data), None)


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
        _add_message(document, part, message_from_bytes(content), number)


def _add_message(document: Document, part: Part, message: Message, number: int | None) -> None:
    about = {name: _header(message.get(name, "")) for name in SHOWN}
    bodies: list[str] = []
    attached: list[Attachment] = []
    _walk(message, bodies, attached)
    add_text(part, about, "\n\n".join(bodies), [name for name, _ in attached], number)
    for name, content in attached:
        attach(document, name, content, number)


def attach(document: Document, name: str, content: bytes | str, number: int | None = None) -> None:
    """Attach a file to the document; what is found in it names it and the message with this number."""
    own = PurePosixPath(name.replace("\\", "/")).name[-150:]
    document.attach(f"message {number}, attachment {own}" if number else f"attachment {own}", content)


def add_text(part: Part, about: dict[str, str], text: str, attached: list[str], number: int | None) -> None:
    """Add a message to `part`: what its headers say, its text, and the names of what is attached."""
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


def _walk(message: Message, bodies: list[str], attached: list[Attachment]) -> None:
    """Add the texts of a message, of alternatives the plain one, and what is attached."""
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
            attached.append(_attachment(part, name or "unnamed"))
        elif kind in ("text/plain", "text/html"):
            text = _text(part)
            bodies.append("\n".join(read_html(text)[0].lines) if kind == "text/html" else text)


def _attachment(part: Message, name: str) -> Attachment:
    """A part of a message as a file; one whose name has no suffix gets that of its type, a text is in UTF-8."""
    kind = part.get_content_type()
    if not PurePosixPath(name).suffix:
        name += MimeTypes().guess_extension(kind) or ""
    if part.get_content_maintype() == "text":
        return name, _text(part).encode("utf-8", "replace")
    content = part.get_payload(decode=True)
    return name, content if isinstance(content, bytes) else b""


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
