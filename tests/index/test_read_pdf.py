import importlib
import io
import random
import sys

import pytest

from unbraid.errors import DataError
from unbraid.index.files.read import read_chunks

pypdf = pytest.importorskip("pypdf", reason="pip install 'unbraid[documents]'")
chunk_pdf = importlib.import_module("unbraid.index.files.read_pdf")
program = importlib.import_module("unbraid.index.files.pdf_process")


def pdf(*pages: str) -> bytes:
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


def encrypted(password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("secret words")))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


def test_chunks_name_the_pages_they_are_on() -> None:
    parts = read_chunks(pdf("First page\nof two", "Second page"), ".pdf")
    assert [(part.first_line, part.last_line, part.snippet) for part in parts] == [
        (1, 2, "First page\nof two\n\nSecond page")
    ]
    long = "\n".join(["the quick brown fox jumps over the lazy dog"] * 25)
    assert [(part.first_line, part.last_line) for part in read_chunks(pdf(long, long), ".PDF")] == [
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
        (pdf(""), "PDF without text"),
        (encrypted("password"), "encrypted PDF"),
    ],
)
def test_the_reason_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}$"):
        read_chunks(data, ".pdf")


def test_a_pdf_that_only_forbids_printing_is_read() -> None:
    assert read_chunks(encrypted(""), ".pdf")[0].snippet == "secret words"


def test_too_many_pages_too_much_text_and_too_long_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pdf("one", "two", "three")
    monkeypatch.setattr(chunk_pdf, "MAX_PAGES", 2)
    with pytest.raises(DataError, match="^PDF of over 2 pages$"):
        read_chunks(data, ".pdf")
    monkeypatch.setattr(chunk_pdf, "MAX_PAGES", 3)
    monkeypatch.setattr(chunk_pdf, "MAX_CHARACTERS", 5)
    with pytest.raises(DataError, match="^PDF of over 5 characters$"):
        read_chunks(data, ".pdf")
    monkeypatch.setattr(chunk_pdf, "MAX_SECONDS", 0.0)
    with pytest.raises(DataError, match="^PDF that takes over 0 seconds$"):
        read_chunks(data, ".pdf")


def test_a_reader_that_dies_is_a_broken_pdf(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dying = tmp_path_factory.mktemp("program") / "dies.py"
    dying.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(chunk_pdf, "_PROGRAM", dying)
    with pytest.raises(DataError, match="^broken PDF$"):
        read_chunks(pdf("one"), ".pdf")


def test_damaged_files_are_read_or_named_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program in this process, so that hundreds of files take seconds; warnings are errors here, so they count."""
    whole = pdf("the quick brown fox", "jumps over\nthe lazy dog")
    rng = random.Random(0)
    monkeypatch.setitem(sys.modules, "resource", None)  # no limit on the memory of the tests
    monkeypatch.setattr(sys, "argv", ["pdf_text.py", "10", "1000"])
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(len(data) // 2, 2 * len(data)) :]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        program.main()
    assert capsys.readouterr().out.count('{"') == 300
