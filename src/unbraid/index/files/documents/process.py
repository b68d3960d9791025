"""A program of its own that reads documents (read_document.py asks it; unbraid/io/child.py runs it).

A document may come from anyone. It may take all time or memory, or end the process; the process that asks goes on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from unbraid.index.files.documents.books import read_book
from unbraid.index.files.documents.mail import read_eml, read_mbox
from unbraid.index.files.documents.opendocument import read_opendocument
from unbraid.index.files.documents.outlook import read_msg
from unbraid.index.files.documents.parts import OLE, Document, Refused
from unbraid.index.files.documents.rich_text import read_rich_text
from unbraid.index.files.documents.sheets import read_sheets
from unbraid.index.files.documents.slides import read_slides
from unbraid.index.files.documents.tarred import read_tar
from unbraid.index.files.documents.word import read_word
from unbraid.index.files.walk import TAR_SUFFIXES

READERS: dict[str, Callable[[bytes, Document], None]] = {
    **dict.fromkeys((".docx", ".docm"), read_word),
    **dict.fromkeys((".pptx", ".pptm"), read_slides),
    **dict.fromkeys((".xlsx", ".xlsm"), read_sheets),
    ".odt": partial(read_opendocument, kind="text"),
    ".odp": partial(read_opendocument, kind="presentation"),
    ".ods": partial(read_opendocument, kind="spreadsheet"),
    ".epub": read_book,
    ".rtf": read_rich_text,
    ".eml": read_eml,
    ".mbox": read_mbox,
    ".msg": read_msg,
    **dict.fromkeys(TAR_SUFFIXES, read_tar),
}
_ZIPPED = frozenset(".docx .docm .pptx .pptm .xlsx .xlsm .odt .odp .ods .epub".split())
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def reply(request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """{"parts": [{"unit", "lines", "numbers", "sections"}, ...], "attached": [[name, size or reason], ...]} of a document.

    Or {"reason"} why it is not read. The request is {"suffix"}; behind the answer come the contents of what is attached.
    """
    suffix = request["suffix"]
    document = Document()
    try:
        if suffix in _ZIPPED and not content.startswith(b"PK"):
            raise Refused(_no_zip(content, suffix))
        READERS[suffix](content, document)
        parts, (attached, contents) = document.written(), document.attached()
    except Refused as refused:
        return {"reason": str(refused)}, b""
    except MemoryError:
        return {"reason": f"{suffix[1:]} that takes too much memory"}, b""
    except Exception:  # noqa: BLE001 - of the standard library and of others, which may raise anything for what is broken
        return {"reason": f"broken {suffix[1:]}"}, b""
    if not parts and not attached:
        return {"reason": f"{suffix[1:]} without text"}, b""
    return {"parts": parts, "attached": attached}, contents


def _no_zip(content: bytes, suffix: str) -> str:
    """Why a file that should be a zip file is none."""
    if not content.startswith(OLE):
        return f"not {'an' if suffix[1] in 'xoe' else 'a'} {suffix[1:]} inside"
    # Office puts what it encrypts in the container of its older formats.
    return (
        "password-protected"
        if _ENCRYPTED in content
        else "an Office file from before 2007: save it in today's format"
    )
