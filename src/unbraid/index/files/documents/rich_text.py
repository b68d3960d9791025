"""RTF, by striprtf: its text, a line for each paragraph."""

from unbraid.index.files.documents.parts import Document, Refused


def read_rich_text(data: bytes, document: Document) -> None:
    """Numbers are paragraphs. Raises Refused."""
    from striprtf.striprtf import rtf_to_text

    if not data.lstrip().startswith(b"{\\rtf"):
        raise Refused("not an rtf inside")
    # An RTF is ASCII: it spells all other characters. Bytes of old programs are taken as Windows wrote them.
    text = rtf_to_text(data.decode("cp1252", "replace"), errors="replace")
    part = document.part("paragraph")
    number = 0
    for line in text.split("\n"):
        number += bool(line.strip())
        part.add(line, max(1, number))
