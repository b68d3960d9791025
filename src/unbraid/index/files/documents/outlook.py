"""Messages of Outlook: .msg."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from unbraid.index.files.documents.mail import add_text, attach, decode_as
from unbraid.index.files.documents.parts import OLE, Document, Refused
from unbraid.index.files.read_html import read_html

# Properties of a message (MS-OXPROPS): ids of the streams that may hold them.
_HEADERS = {"Subject": "0037", "From": "0C1A", "To": "0E04", "Cc": "0E03"}
_BODY, _HTML = "1000", "1013"
_SENT = 0x0039  # PidTagClientSubmitTime
_MAX_STREAM, _MAX_ATTACHED = 16 * 1024**2, 50 * 1024**2
_MAX_DEPTH = 5  # messages attached to one another, whose text is that of the outer one


def read_msg(data: bytes, document: Document) -> None:
    """Numbers are lines of its text. Raises Refused."""
    import olefile

    if not data.startswith(OLE):
        raise Refused("not a msg inside")
    with olefile.OleFileIO(BytesIO(data)) as ole:
        if not ole.exists("__properties_version1.0"):
            raise Refused("not a msg inside")
        about = {name: _property(ole, [], number) for name, number in _HEADERS.items()}
        about["Date"] = _sent(ole.openstream("__properties_version1.0").read(_MAX_STREAM))
        texts, attached = _content(ole, [], 0)
        part = document.part("line")
        add_text(part, about, "\n\n".join(texts), [name for name, _ in attached], None)
        for name, path in attached:
            attach(document, name, ole.openstream(path).read(_MAX_ATTACHED) if path else "embedded object")


def _content(ole: Any, folder: list[str], depth: int) -> tuple[list[str], list[tuple[str, list[str] | None]]]:
    """The texts of the message in `folder`, and (name, path) of each file attached to it or to messages in it.

    The path is None for an object that is no file.
    """
    body = _property(ole, folder, _BODY)
    texts = [body or "\n".join(read_html(_property(ole, folder, _HTML))[0].lines)]
    found: list[tuple[str, list[str] | None]] = []
    inside = (path[len(folder)] for path in ole.listdir() if path[: len(folder)] == folder)
    for name in sorted({one for one in inside if one.startswith("__attach_version1.0_")}):
        place = [*folder, name]
        message = [*place, "__substg1.0_3701000D"]
        shown = _property(ole, place, "3707") or _property(ole, place, "3704")
        if depth < _MAX_DEPTH and ole.exists([*message, "__properties_version1.0"]):
            more, attached = _content(ole, message, depth + 1)
            texts += [_property(ole, message, _HEADERS["Subject"]), *more]
            found += attached
        else:
            path = [*place, "__substg1.0_37010102"]
            found.append((shown or "unnamed", path if ole.exists(path) else None))
    return texts, found


def _property(ole: Any, folder: list[str], number: str) -> str:
    """A text of a message or an attachment: in UTF-16 (001F), in another encoding (001E), or as bytes (0102)."""
    for kind, charset in (("001F", "utf-16-le"), ("001E", ""), ("0102", "")):
        path = [*folder, f"__substg1.0_{number}{kind}"]
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
