"""A program of its own: the text of a PDF's pages, as JSON; standard input and output carry the bytes.

    python -P pdf_process.py MAX_PAGES MAX_CHARACTERS < FILE.pdf    # {"pages": [text, ...]} or {"reason": "..."}

pypdf is written in Python, and a crafted page can take hours or all memory. So it runs in a process that can be ended,
with limited memory where the system can do that. It imports nothing of unbraid, to start quickly.
"""

import io
import json
import logging
import sys

MEMORY_BYTES = 2 * 1024**3


def pages(data: bytes, max_pages: int, max_characters: int) -> list[str] | str:
    """The text of each page, or why there is none."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not _decrypted(reader):
        return "encrypted PDF"
    if len(reader.pages) > max_pages:
        return f"PDF of over {max_pages} pages"
    texts: list[str] = []
    characters = 0
    for page in reader.pages:
        texts.append(page.extract_text())
        characters += len(texts[-1])
        if characters > max_characters:
            return f"PDF of over {max_characters} characters"
    return texts if any(text.strip() for text in texts) else "PDF without text"


def _decrypted(reader: object) -> bool:
    """Whether the empty password opens it: many PDFs only forbid printing. AES needs a library that is not here."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    assert isinstance(reader, PdfReader)
    try:
        return bool(reader.decrypt(""))
    except (PyPdfError, ValueError, NotImplementedError):
        return False


def main() -> None:
    """Read standard input, write one line of JSON."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):  # Windows, or a lower limit already
        pass
    logging.disable()  # pypdf reports what it repairs
    data = sys.stdin.buffer.read()
    try:
        found = pages(data, int(sys.argv[1]), int(sys.argv[2]))
    except Exception:  # noqa: BLE001, a broken file makes pypdf raise anything, from KeyError to RecursionError
        found = "broken PDF"
    result = {"reason": found} if isinstance(found, str) else {"pages": found}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
