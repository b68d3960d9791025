"""Damaged documents and archives for their readers: none may crash the process, take long, or take much memory; bombs are named.

python benchmarks/fuzz_documents.py [COUNT] [--seed N]       # 2,000 by default; some minutes on one core
"""

import argparse
import datetime
import gzip
import io
import lzma
import random
import resource
import struct
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import EmailMessage

from unbraid.errors import DataError
from unbraid.index.files.content import FileContent
from unbraid.index.files.read import read_file, starter_limit
from unbraid.index.files.read_archive import read_archive
from unbraid.index.files.read_document import DOCUMENT_SUFFIXES, close_reader

MOST_MEGABYTES = 1024
END = -2  # of a chain of sectors
WORDS = "the quick brown fox jumps over the lazy dog near the river bank in the rain ".split()


def docx() -> bytes:
    """Headings, a list, a table, a comment of Word's own pages."""
    import docx

    made = docx.Document()
    made.add_heading("Report on kettles", 0)
    made.add_heading("Methods", 1)
    made.add_paragraph("We measured the kettle. " * 20)
    made.add_paragraph("first point", style="List Bullet")
    made.add_paragraph("second point", style="List Bullet")
    made.add_heading("Sampling", 2)
    table = made.add_table(2, 2)
    for place, text in enumerate(("name", "town", "Ada", "London")):
        table.cell(place // 2, place % 2).text = text
    return _saved(made.save)


def pptx() -> bytes:
    """Three slides with titles, points and notes, and one with a table."""
    import pptx

    made = pptx.Presentation()
    for number in range(3):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = f"Topic {number}"
        slide.placeholders[1].text = "a point of this slide " * 12
        slide.notes_slide.notes_text_frame.text = "say it slowly"
    table = made.slides.add_slide(made.slide_layouts[6]).shapes.add_table(2, 2, 0, 0, 9999, 9999).table
    table.cell(0, 0).text, table.cell(1, 1).text = "left", "right"
    return _saved(made.save)


def xlsx() -> bytes:
    """A sheet with a title and a table of 40 rows, one with two stray cells."""
    import openpyxl

    made = openpyxl.Workbook()
    sheet = made.active
    sheet.title = "Sales"
    for row in (["Sales by region"], [], ["Region", "Amount", "Day"]):
        sheet.append(row)
    for number in range(40):
        sheet.append([f"Region {number}", number * 1.5, datetime.date(2024, 1, 1 + number % 28)])
    other = made.create_sheet("Notes")
    other["B7"], other["C9"] = "a stray word", True
    return _saved(made.save)


def epub() -> bytes:
    """Two chapters, the second without a heading of its own, and a table of contents."""
    text = " ".join(WORDS * 10)
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></container>',
            "O/c.opf": '<package xmlns:dc="d"><metadata><dc:title>Moby Dick</dc:title></metadata><manifest>'
            '<item id="a" href="a%20b.xhtml"/><item id="b" href="b.xhtml"/>'
            '<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/></manifest>'
            '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
            "O/toc.ncx": "<ncx><navMap><navPoint><navLabel><text>The Carpet-Bag</text></navLabel>"
            '<content src="b.xhtml#x"/></navPoint></navMap></ncx>',
            "O/a b.xhtml": f"<html><head><title>M</title></head><body><h1>Loomings</h1><p>{text}</p></body></html>",
            "O/b.xhtml": f"<html><body><p>I stuffed a shirt. {text}</p></body></html>",
        }
    )


def eml() -> bytes:
    """A message in plain text and HTML with an attachment."""
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = (
        "Grüße from the kettle",
        "Ada <ada@example.org>",
        "bob@example.org",
    )
    made["Date"] = "Fri, 01 Mar 2024 10:00:00 +0000"
    made.set_content("Hello Bob,\n\nthe kettle is broken.\n\nAda\n")
    made.add_alternative("<p>Hello <b>Bob</b></p>", subtype="html")
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="report.pdf")
    return bytes(made)


def mbox() -> bytes:
    """Two messages, each with a document, code and another message attached."""
    inner = EmailMessage()
    inner["Subject"] = "minutes"
    inner.set_content("we met at noon")
    inner.add_attachment("the list of all points", filename="points.txt")
    made = EmailMessage()
    made["Subject"] = "papers"
    made.set_content("see what is attached")
    made.add_attachment(docx(), maintype="application", subtype="octet-stream", filename="report.docx")
    made.add_attachment("def f():\n    return 1\n", filename="code.py")
    made.add_attachment(bytes(inner), maintype="application", subtype="x", filename="minutes.eml")
    made.add_attachment(inner)
    return b"From ada Fri Mar  1 10:00:00 2024\n".join([b"", bytes(made) + b"\n", bytes(made)])


def msg() -> bytes:
    """A message of Outlook with a document attached, and another message that has a text attached."""
    attached, other = "__attach_version1.0_#00000000", "__attach_version1.0_#00000001"
    inner = f"{other}/__substg1.0_3701000D"
    sent = (0x00390040).to_bytes(8, "little") + (133_536_672_000_000_000).to_bytes(8, "little")
    return compound_file(
        {
            "__properties_version1.0": bytes(32) + sent,
            "__substg1.0_0037001F": "Kettle".encode("utf-16-le"),
            "__substg1.0_0C1A001E": b"Ada",
            "__substg1.0_1000001F": ("It is broken.\r\n" * 40).encode("utf-16-le"),
            f"{attached}/__substg1.0_3707001F": "report.docx".encode("utf-16-le"),
            f"{attached}/__substg1.0_37010102": docx(),
            f"{inner}/__properties_version1.0": bytes(24),
            f"{inner}/__substg1.0_0037001F": "Tea".encode("utf-16-le"),
            f"{inner}/__substg1.0_1000001F": "It is cold.".encode("utf-16-le"),
            f"{inner}/{attached}/__substg1.0_3704001E": b"points.txt",
            f"{inner}/{attached}/__substg1.0_37010102": b"the list of all points",
        }
    )


def compound_file(streams: dict[str, bytes]) -> bytes:
    """A file of Microsoft's that holds these streams by their paths (MS-CFB): those under 4 KB in a stream for small ones."""
    whole, small = Sectors(512), Sectors(64)
    folders = {"/".join(name.split("/")[:n]) for name in streams for n in range(1, name.count("/") + 1)}
    paths = ["", *sorted({*streams, *folders})]
    starts = {
        path: (whole if len(content) >= 4096 else small).put(content) for path, content in streams.items()
    }
    starts[""] = whole.put(small.content)
    listed = b""
    for number, path in enumerate(paths):
        parent, _, own = path.rpartition("/")
        name = (own or "Root Entry").encode("utf-16-le")
        kind = 2 if path in streams else 1 if path else 5
        # The next one in the same folder, and the first one in a folder.
        right = [n for n in range(number + 1, len(paths)) if path and paths[n].rpartition("/")[0] == parent]
        below = [n for n, one in enumerate(paths) if one and kind != 2 and one.rpartition("/")[0] == path]
        links = (-1, (right or [-1])[0], (below or [-1])[0])
        listed += name.ljust(64, b"\0") + struct.pack("<HBB3i", len(name) + 2, kind, 1, *links) + bytes(36)
        size = len(streams.get(path, b"")) if path else len(small.content)
        listed += struct.pack("<iQ", starts.get(path, END), size)
    first, next_small = whole.put(listed), whole.put(small.packed())
    count = len(whole.following) // 127 + 1
    place = len(whole.following)
    whole.following += [-3] * count  # a part of the table itself
    head = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(16)
        + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6)
        + bytes(10)
    )
    head += struct.pack("<8i", count, first, 0, 4096, next_small, -(-len(small.following) // 128), END, 0)
    head += struct.pack(f"<{count}i", *range(place, place + count))
    return head.ljust(512, b"\xff") + whole.content + whole.packed().ljust(512 * count, b"\xff")


class Sectors:
    """Sectors of one size in a compound file, and which one follows each."""

    def __init__(self, size: int) -> None:
        """None yet."""
        self.size, self.content = size, b""
        self.following: list[int] = []

    def put(self, content: bytes) -> int:
        """Write `content` to sectors of its own; returns the first one."""
        start = len(self.following)
        self.content += content + bytes(-len(content) % self.size)
        self.following += [*range(start + 1, len(self.content) // self.size), END]
        return start

    def packed(self) -> bytes:
        """The table of what follows."""
        return struct.pack(f"<{len(self.following)}i", *self.following)


def tar() -> bytes:
    """Text, code, a document, a message, a link and a long name."""
    words = " ".join(WORDS * 10).encode()
    return tarred(
        {"docs/a.md": b"# One\n\n" + words, "b.py": b"def f():\n    return 1\n", "c.docx": docx()}
        | {"d.eml": eml(), "link": None, "very/" * 30 + "long.txt": words}
    )


def tarred(members: dict[str, bytes | None]) -> bytes:
    """A tar archive of these members; one without content is a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            if content is None:
                about.type, about.linkname = tarfile.SYMTYPE, "/etc/passwd"
            about.size = len(content or b"")
            archive.addfile(about, io.BytesIO(content or b""))
    return out.getvalue()


def tar_gz() -> bytes:
    """The same, packed."""
    return gzip.compress(tar(), mtime=0)


def pdf() -> bytes:
    """Two pages of text."""
    page = "BT /F1 12 Tf 20 20 Td (the kettle is broken) Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>",
        *["<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 5 0 R/Resources<</Font<</F1 6 0 R>>>>>>"]
        * 2,
        f"<</Length {len(page)}>>stream\n{page}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body = "%PDF-1.4\n"
    for number, text in enumerate(objects, start=1):
        body += f"{number} 0 obj{text}endobj\n"
    return (body + "trailer<</Root 1 0 R/Size 7>>\n%%EOF").encode()


MAKE: dict[str, Callable[[], bytes]] = {
    ".docx": docx,
    ".pptx": pptx,
    ".xlsx": xlsx,
    ".epub": epub,
    ".eml": eml,
    ".mbox": mbox,
    ".msg": msg,
    ".tar": tar,
    ".tar.gz": tar_gz,
    ".pdf": pdf,
}


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    save(out)
    return out.getvalue()


def zipped(members: dict[str, str | bytes]) -> bytes:
    """A zip file of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    """The members of a zip file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with some changed, taken out, put in or repeated."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        place = rng.randrange(len(found) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            found[place : place + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        elif kind == 1:
            del found[place : place + rng.choice((1, 10, 1000))]
        elif kind == 2:
            found[place:place] = bytes(found[place : place + 40]) * rng.choice((1, 30, 3000))
        else:
            found[place:place] = (
                rng.choice((b"<w:p>", b"</w:p>", b"<a:tr>", b"&x;", b'"', b"<![CDATA[", b"\0", b"9" * 40))
                * 20
            )
    return bytes(found)


def bombs(suffix: str) -> Iterator[bytes]:
    """Documents of this kind that grow without end when they are unpacked or parsed."""
    if suffix == ".tar":
        yield from tar_bombs()
    if suffix == ".tar.gz":
        yield gzip.compress(tarred({"a.txt": bytes(300_000_000)}))
        yield gzip.compress(tarred({f"{n}.txt": b"" for n in range(21_000)}))
        yield gzip.compress(tar() + bytes(300_000_000))
        yield lzma.compress(tarred({"a.txt": bytes(300_000_000)}))
    if suffix not in (".docx", ".pptx", ".xlsx", ".epub"):
        return
    whole = members(MAKE[suffix]())
    main = {
        ".docx": "word/document.xml",
        ".pptx": "ppt/presentation.xml",
        ".xlsx": "xl/worksheets/sheet1.xml",
        ".epub": "O/c.opf",
    }[suffix]
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    yield zipped({**whole, main: f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><x>&l11;</x>'})
    yield zipped({**whole, main: '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>'})
    yield zipped({**whole, "media/zeros.bin": bytes(300_000_000)})
    yield zipped({**whole, main: b"<w:p>" * 20_000_000})
    yield zipped({**whole, **{f"x/{n}": "" for n in range(21_000)}})
    lying = bytearray(zipped({**whole, main: b"<x>" + bytes(b" " * 60_000_000) + b"</x>"}))
    place = lying.find(main.encode(), lying.find(b"PK\x01\x02"))
    lying[place - 22 : place - 18] = (1000).to_bytes(4, "little")  # the size that the list of members gives
    yield bytes(lying)


def tar_bombs() -> Iterator[bytes]:
    """Headers that make a reader of tar archives take long, or take much memory."""
    whole = tar()
    digits = b"1" * 5_000_000
    yield header("x", tarfile.XHDTYPE, len(digits)) + digits + bytes(-len(digits) % 512) + whole
    yield header("x", tarfile.XHDTYPE, 8**11 - 1) + digits
    yield header("x", tarfile.GNUTYPE_LONGNAME, 8**11 - 1) + digits
    sparse = bytearray(header("big.txt", tarfile.GNUTYPE_SPARSE, 0))
    sparse[483:495] = b"00077777777\0"
    yield checked(sparse)
    back = bytearray(header("a.txt", tarfile.REGTYPE, 0))
    back[124:136] = b"\xff" * 10 + b"\xfc\0"  # a negative size, so that the next member is the one before
    yield checked(back) + whole


def header(name: str, kind: bytes, size: int) -> bytes:
    """The 512 bytes before a member of a tar archive."""
    about = tarfile.TarInfo(name)
    about.type, about.size = kind, size
    return about.tobuf(tarfile.GNU_FORMAT)[:512]


def checked(found: bytearray) -> bytes:
    """A header with its checksum made anew."""
    found[148:156] = b" " * 8
    found[148:156] = b"%06o\0 " % sum(found)
    return bytes(found)


def random_documents(count: int, seed: int) -> Iterator[tuple[bytes, str]]:
    """`count` contents, each with a suffix: damaged from outside, or within and zipped again."""
    rng = random.Random(seed)
    whole = {suffix: make() for suffix, make in MAKE.items()}
    inner = {suffix: members(data) for suffix, data in whole.items() if data.startswith(b"PK")}
    for _ in range(count):
        suffix = rng.choice(list(MAKE))
        if suffix == ".tar.gz" and rng.random() < 0.75:
            yield gzip.compress(damaged(whole[".tar"], rng), 1), suffix
        elif suffix in inner and rng.random() < 0.75:
            parts = dict(inner[suffix])
            for name in rng.sample([name for name in parts if parts[name]], k=rng.choice((1, 1, 3))):
                parts[name] = damaged(parts[name], rng)
            yield zipped(parts), suffix
        else:
            yield damaged(whole[suffix], rng), rng.choice((suffix, suffix, suffix, *MAKE))


def read(data: bytes, suffix: str) -> FileContent:
    """What a file holds, be it a document or an archive. Raises DataError."""
    if suffix in DOCUMENT_SUFFIXES or suffix == ".pdf":
        return read_file(data, suffix)
    return read_archive(data, f"all{suffix}")


def check(data: bytes, suffix: str) -> str:
    """Read one file; returns "read" or the reason of a refusal. Raises AssertionError for a chunk that is wrong."""
    try:
        content = read(data, suffix)
    except DataError as error:
        return str(error)
    if not content.chunks and content.skipped:
        return content.skipped[0][1]
    limit = starter_limit()
    assert max(limit.sizes([chunk.encoded for chunk in content.chunks]), default=0) <= limit.tokens
    for chunk in content.chunks:
        assert chunk.snippet.strip()
        assert chunk.first_line and chunk.last_line and chunk.first_line <= chunk.last_line
        assert "\0" not in chunk.encoded
        chunk.encoded.encode()  # no lone surrogates
    return "read"


def main() -> None:
    """Print what became of the documents, the slowest ones and the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    results: Counter[str] = Counter()
    slowest: list[tuple[float, str]] = []
    wrong = 0
    for suffix in MAKE:
        for number, data in enumerate(bombs(suffix)):
            start = time.perf_counter()
            reason = check(data, suffix)
            slowest.append((time.perf_counter() - start, f"bomb {number} {suffix}"))
            print(f"bomb {number} {suffix}, {len(data):,} bytes: {reason}")
            wrong += reason == "read" or "ended its reader" in reason or "takes over" in reason
    for number, (data, suffix) in enumerate(random_documents(asked.count, asked.seed)):
        start = time.perf_counter()
        try:
            results[check(data, suffix)] += 1
        except BaseException:
            print(f"file {number} of seed {asked.seed}, {suffix}", file=sys.stderr)
            raise
        slowest = sorted([*slowest, (time.perf_counter() - start, f"file {number} {suffix}")], reverse=True)[
            :5
        ]
    close_reader()
    own, children = (
        resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    for reason, count in results.most_common():
        print(f"{count:6,}  {reason}")
    for seconds, name in slowest:
        print(f"{seconds:6.2f} s  {name}")
    died = sum(count for reason, count in results.items() if "ended its reader" in reason)
    late = sum(count for reason, count in results.items() if "takes over" in reason)
    print(
        f"{own:,} MB here, {children:,} MB in the largest reader; {died} readers ended, {late} took too long"
    )
    if wrong or died or late or max(own, children) > MOST_MEGABYTES:
        sys.exit(1)


if __name__ == "__main__":
    main()
