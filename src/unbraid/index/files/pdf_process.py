"""A program of its own: the text of a PDF's pages and their pictures (read_pdf.py asks it; unbraid/io/child.py runs it).

PDFium is written in C++, and a crafted page can take hours, all memory or the process. It imports nothing of unbraid, to
start quickly.
"""

import io
import re
import unicodedata
from typing import Any

# PDFium writes these for a hyphen at the end of a line where it has put the word together again.
_CUT_WORD = re.compile("[\x02\ufffe]\\r?\\n?")
# One character for fi, fl, ffi ...: words are looked for by their letters.
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_PASSWORD = 4  # FPDF_ERR_PASSWORD
_open: list[Any] = []  # the document that was sent last


def reply(request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """Answer one of two requests; {"reason": ...} where that cannot be done.

    {"max_pages", "max_characters"} with a PDF's content opens it: {"pages": [text, ...], "blank": [page, ...]}, where
    blank pages, from 1, have nothing on them. {"page", "side", "format"} draws a page: its picture as a file.
    """
    import pypdfium2

    try:
        if content:
            return _read(content, request["max_pages"], request["max_characters"]), b""
        return {}, _draw(request["page"], request["side"], request["format"])
    except pypdfium2.PdfiumError as error:
        encrypted = getattr(error, "err_code", None) == _PASSWORD
        return {"reason": "encrypted PDF" if encrypted else "broken PDF"}, b""
    except (ValueError, MemoryError, OverflowError, OSError):
        return {"reason": "broken PDF"}, b""


def _read(data: bytes, max_pages: int, max_characters: int) -> dict[str, Any]:
    import pypdfium2

    while _open:
        _open.pop().close()
    document = pypdfium2.PdfDocument(data)
    _open.append(document)
    if len(document) > max_pages:
        return {"reason": f"PDF of over {max_pages} pages"}
    if not len(document):
        return {"reason": "broken PDF"}
    texts: list[str] = []
    blank: list[int] = []
    characters = 0
    for number in range(len(document)):
        page = document[number]
        text = page.get_textpage()
        texts.append(_letters(text.get_text_bounded()))
        if not pypdfium2.raw.FPDFPage_CountObjects(page):
            blank.append(number + 1)
        text.close()
        page.close()
        characters += len(texts[-1])
        if characters > max_characters:
            return {"reason": f"PDF of over {max_characters} characters"}
    return {"pages": texts, "blank": blank}


def _letters(text: str) -> str:
    """Text of a page with words whole that a line end cuts, and ligatures as their letters."""
    return _LIGATURE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), _CUT_WORD.sub("", text))


def _draw(page: int, side: int, form: str) -> bytes:
    """Page `page`, from 1, with a longer side of `side` pixels, as a picture file in Pillow's format `form`."""
    drawn = _open[0][page - 1]
    scale = side / max(*drawn.get_size(), 1)
    out = io.BytesIO()
    drawn.render(scale=scale).to_pil().convert("RGB").save(out, form, quality=90)
    drawn.close()
    return out.getvalue()
