import base64
import importlib
import io
import json
import random
import zlib
from pathlib import Path

import pytest
from PIL import Image

from unbraid.errors import DataError
from unbraid.index.files.read import read_chunks
from unbraid.index.files.read_pdf import Pdf

pytest.importorskip("pypdfium2", reason="pip install 'unbraid[documents]'")
chunk_pdf = importlib.import_module("unbraid.index.files.read_pdf")
program = importlib.import_module("unbraid.index.files.pdf_process")
# One page that reads "secret words", written with pypdf.
ENCRYPTED = json.loads((Path(__file__).parent / "encrypted_pdfs.json").read_text())


@pytest.fixture(autouse=True, scope="module")
def closed():
    """The program keeps the last document open, for requests that draw its pages."""
    yield
    while program._open:
        program._open.pop().close()


def pdf_of(*pages: str) -> bytes:
    """A PDF with one line of text for each line of each page, written out by hand."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"]
    font = "<< /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for number, page in enumerate(pages):
        lines = " ".join(f"({line}) Tj 0 -14 Td" for line in page.split("\n"))
        stream = f"BT /F 12 Tf 72 720 Td {lines} ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {font} /Contents {4 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF"
    return data + end.encode()


def encrypted(kind: str) -> bytes:
    return zlib.decompress(base64.b85decode(ENCRYPTED[kind]))


def scan(*sizes: tuple[int, int]) -> bytes:
    """A PDF of pictures, one a page."""
    first, *others = (Image.new("RGB", size, "gray") for size in sizes)
    stream = io.BytesIO()
    first.save(stream, "PDF", save_all=True, append_images=others)
    return stream.getvalue()


def test_chunks_name_the_pages_they_are_on() -> None:
    parts = read_chunks(pdf_of("First page\nof two", "Second page"), ".pdf")
    assert [(part.first_line, part.last_line, part.snippet) for part in parts] == [
        (1, 2, "First page\nof two\n\nSecond page")
    ]
    long = "\n".join(["the quick brown fox jumps over the lazy dog"] * 30)
    assert [(part.first_line, part.last_line) for part in read_chunks(pdf_of(long, long), ".PDF")] == [
        (1, 1),
        (1, 1),
        (2, 2),
        (2, 2),
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "broken PDF"),
        (b"no PDF at all", "broken PDF"),
        (b"%PDF-1.4\n", "broken PDF"),
        (pdf_of(""), "PDF without text"),
        (encrypted("AES-256, password"), "encrypted PDF"),
    ],
)
def test_the_reason_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}$"):
        read_chunks(data, ".pdf")


@pytest.mark.parametrize("kind", ["RC4, empty user password", "AES-256, empty user password"])
def test_a_pdf_that_only_forbids_printing_is_read(kind: str) -> None:
    assert read_chunks(encrypted(kind), ".pdf")[0].snippet == "secret words"


def test_pages_without_text_are_scans_and_empty_pages_are_not() -> None:
    with Pdf(scan((60, 40), (40, 60))) as pdf:
        assert pdf.without_text == [1, 2]
        drawn = [Image.open(io.BytesIO(pdf.draw(page, 200, "BMP"))) for page in (1, 2)]
        assert [(one.format, max(one.size)) for one in drawn] == [("BMP", 200)] * 2
        assert drawn[0].width > drawn[0].height and drawn[0].convert("RGB").getpixel((9, 9)) == (
            128,
            128,
            128,
        )
        with pytest.raises(DataError, match="^page 3 was not drawn: broken PDF$"):
            pdf.draw(3, 200, "BMP")
    with Pdf(pdf_of("words", "")) as pdf:
        assert pdf.without_text == [] and pdf.pages[0] == "words"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("speci\x02\r\nfic", "specific"),
        ("\ufb01nd the o\ufb03ce", "find the office"),
        ("well-known", "well-known"),
    ],
)
def test_words_are_whole_and_in_letters(written: str, read: str) -> None:
    assert program._letters(written) == read


def test_too_many_pages_too_much_text_and_too_long_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pdf_of("one", "two", "three")
    monkeypatch.setattr(chunk_pdf, "MAX_PAGES", 2)
    with pytest.raises(DataError, match="^PDF of over 2 pages$"):
        read_chunks(data, ".pdf")
    monkeypatch.setattr(chunk_pdf, "MAX_PAGES", 3)
    monkeypatch.setattr(chunk_pdf, "MAX_CHARACTERS", 5)
    with pytest.raises(DataError, match="^PDF of over 5 characters$"):
        read_chunks(data, ".pdf")
    monkeypatch.setattr(chunk_pdf, "MAX_SECONDS", 0.001)
    with pytest.raises(DataError, match="^PDF that takes over 0 seconds$"):
        read_chunks(data, ".pdf")


def test_a_reader_that_dies_is_a_broken_pdf(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dying = tmp_path_factory.mktemp("program") / "dies.py"
    dying.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(chunk_pdf, "_PROGRAM", dying)
    with pytest.raises(DataError, match="^broken PDF$"):
        read_chunks(pdf_of("one"), ".pdf")


def test_damaged_files_are_read_or_named_broken() -> None:
    """The program in this process, so that hundreds of files take seconds."""
    whole = pdf_of("the quick brown fox", "jumps over\nthe lazy dog")
    rng = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(len(data) // 2, 2 * len(data)) :]
        about, _ = program.reply({"max_pages": 10, "max_characters": 1000}, bytes(data))
        assert ("pages" in about) != ("reason" in about)
