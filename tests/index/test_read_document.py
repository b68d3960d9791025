"""Office files, books and mail. Most are made by other libraries, in benchmarks/fuzz_documents.py."""

import importlib.util
import io
import zipfile
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import DataError
from unbraid.index.files import read_document
from unbraid.index.files.chunk import Chunk
from unbraid.index.files.documents import process
from unbraid.index.files.read import read_chunks, read_file
from unbraid.index.files.read_archive import read_archive
from unbraid.io.child import Child

PATH = Path(__file__).parents[2] / "benchmarks" / "fuzz_documents.py"
LONG = "some words of this part " * 20


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_documents", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Here:
    def ask(self, request: dict[str, str], data: bytes, *, seconds: float) -> object:
        return process.reply(request, data)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are read in this process, which is quicker; the tests of the other process take it back."""
    monkeypatch.setattr(read_document, "_child", Here)


def zipped(**members: str | bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def word(body: str, **others: str) -> bytes:
    """A .docx with this body."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    relations = {
        "_rels/.rels": f'<r><Relationship Id="1" Type="{office}officeDocument" Target="word/document.xml"/></r>'
    }
    inner = "".join(f'<Relationship Id="{n}" Type="{office}{n}" Target="{n}.xml"/>' for n in others)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in relations.items():
            archive.writestr(name, content)
        archive.writestr("word/_rels/document.xml.rels", f"<r>{inner}</r>")
        archive.writestr("word/document.xml", f'<w:document xmlns:w="w"><w:body>{body}</w:body></w:document>')
        for name, content in others.items():
            archive.writestr(f"word/{name}.xml", f'<w:x xmlns:w="w">{content}</w:x>')
    return out.getvalue()


def paragraph(text: str, about: str = "", run: str = "") -> str:
    return f"<w:p><w:pPr>{about}</w:pPr><w:r>{run}<w:t>{text}</w:t></w:r></w:p>"


def places(chunks: list[Chunk]) -> list[tuple[str, int | None, int | None, tuple[str, ...]]]:
    return [(one.unit, one.first_line, one.last_line, one.context) for one in chunks]


# -- Office ------------------------------------------------------------------------------------------------


def test_word_is_read_by_heading(made: ModuleType) -> None:
    first, *_, last = read_chunks(made.docx(), ".docx")
    assert first.unit == "paragraph" and first.snippet.startswith(
        "Report on kettles\n\nMethods\n\nWe measured"
    )
    assert last.context[:2] == ("Report on kettles", "Methods")
    assert (
        last.snippet == "Sampling\nname | town\nAda | London" and "first point\nsecond point" in first.snippet
    )


def test_word_counts_pages_where_word_has_noted_them() -> None:
    new_page = "<w:lastRenderedPageBreak/>"
    body = paragraph(LONG * 2) + paragraph(LONG * 2, run=new_page) + paragraph(LONG * 2, run=new_page)
    assert [place[:3] for place in places(read_chunks(word(body), ".docx"))] == [
        ("page", 1, 1),
        ("page", 2, 2),
        ("page", 3, 3),
    ]


def test_word_shows_what_a_reader_sees() -> None:
    body = (
        "<w:p><w:r><w:t>kept</w:t><w:tab/><w:t>here</w:t></w:r><w:del><w:r><w:t>gone</w:t></w:r></w:del>"
        "<w:ins><w:r><w:t> new</w:t></w:r></w:ins><w:r><w:instrText>PAGE</w:instrText><w:br/><w:t>line</w:t></w:r></w:p>"
        "<w:p><w:r><w:pict><w:txbxContent><w:p><w:r><w:t>in a box</w:t></w:r></w:p></w:txbxContent></w:pict>"
        "<w:t>around it</w:t></w:r></w:p>"
    )
    notes = f"<w:comment>{paragraph('check this')}</w:comment>"
    (found,) = read_chunks(word(body, comments=notes), ".docx")
    assert found.snippet == "kept here new\nline\n\nin a box\n\naround it\n\nComments\n\ncheck this"


def test_word_knows_headings_by_their_style_whatever_it_is_called() -> None:
    styles = (
        '<w:style w:styleId="b1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="b2"><w:name w:val="Mine"/><w:basedOn w:val="b1"/></w:style>'
        '<w:style w:styleId="c"><w:name w:val="C"/><w:basedOn w:val="c"/></w:style>'
    )
    body = (
        paragraph("Start", '<w:pStyle w:val="b2"/>')
        + paragraph(LONG, '<w:pStyle w:val="c"/>')
        + paragraph("Sub", '<w:outlineLvl w:val="1"/>')
        + paragraph(LONG)
    )
    assert read_chunks(word(body, styles=styles), ".docx")[-1].context == ("Start",)


def test_slides_are_read_by_slide_with_titles_and_notes(made: ModuleType) -> None:
    found = read_chunks(made.pptx(), ".pptx")
    assert [place[:3] for place in places(found)] == [("slide", n, n) for n in range(1, 5)]
    assert found[1].snippet.startswith("Topic 1\n\na point of") and found[1].snippet.endswith("say it slowly")
    assert found[3].snippet == "left |\n| right"


def test_sheets_are_read_by_row_with_the_names_of_their_columns(made: ModuleType) -> None:
    lead, names, first, *_, last = read_chunks(made.xlsx(), ".xlsx")
    assert places([lead, names, first]) == [("sheet Sales, row", n, n, ("Sales",)) for n in (1, 3, 4)]
    assert (lead.snippet, names.snippet) == ("Sales by region", "Region, Amount, Day")
    assert first.snippet == "Region: Region 0, Amount: 0, Day: 2024-01-01"
    assert places([last]) == [("sheet Notes, row", 7, 9, ("Notes",))] and last.snippet == "a stray word\ntrue"


def test_opendocument_texts_slides_and_sheets() -> None:
    text = f'<text:h text:outline-level="1">One</text:h><text:p>a<text:s/>b<text:note><text:p>note</text:p></text:note></text:p><text:p>{LONG}</text:p>'
    inside = '<o xmlns:text="t" xmlns:table="a" xmlns:draw="d" xmlns:p="p">{}</o>'
    found = read_chunks(zipped(**{"content.xml": inside.format(text)}), ".odt")
    assert found[0].unit == "paragraph" and found[0].snippet.startswith("One\n\nnote\n\na b\n\nsome words")
    slide = '<draw:page><draw:frame p:class="title"><text:p>Title {}</text:p></draw:frame><text:p>{}</text:p></draw:page>'
    deck = inside.format(slide.format(1, LONG) + slide.format(2, LONG))
    found = read_chunks(zipped(**{"content.xml": deck}), ".odp")
    assert [(one.unit, one.first_line, one.snippet[:7]) for one in found] == [
        ("slide", 1, "Title 1"),
        ("slide", 2, "Title 2"),
    ]
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    row = "<table:table-row{}>{}</table:table-row>"
    rows = row.format("", cell.format("name") + cell.format("town"))
    rows += row.format(' table:number-rows-repeated="5"', "<table:table-cell/>") + row.format(
        "", cell.format("Ada") * 2
    )
    sheet = inside.format(f'<table:table table:name="People">{rows}</table:table>')
    names, ada = read_chunks(zipped(**{"content.xml": sheet}), ".ods")
    assert places([names, ada]) == [("sheet People, row", n, n, ("People",)) for n in (1, 7)]
    assert ada.snippet == "name: Ada, town: Ada"


def test_opendocument_made_by_another_library() -> None:
    from odf.opendocument import OpenDocumentText
    from odf.text import H, P

    made = OpenDocumentText()
    made.text.addElement(H(outlinelevel=1, text="Start"))
    made.text.addElement(P(text="Hello"))
    out = io.BytesIO()
    made.write(out)
    assert read_chunks(out.getvalue(), ".odt")[0].snippet == "Start\n\nHello"


# -- books and mail ----------------------------------------------------------------------------------------


def test_a_book_is_read_by_chapter_with_titles_from_its_contents(made: ModuleType) -> None:
    found = read_chunks(made.epub(), ".epub")
    assert places(found[:1]) == [("chapter", 1, 1, ("Moby Dick",))]
    assert found[0].snippet.startswith("Loomings\n\nthe quick")
    second = next(one for one in found if one.first_line == 2)
    assert second.snippet.startswith("The Carpet-Bag\n\nI stuffed") and second.context == ("Moby Dick",)


def test_a_message_shows_who_wrote_what_and_its_plain_text(made: ModuleType) -> None:
    (found,) = read_chunks(made.eml(), ".eml")
    assert found.unit == "line" and found.snippet.startswith(
        "Grüße from the kettle\nFrom: Ada <ada@example.org>\n"
    )
    assert "the kettle is broken" in found.snippet and "<b>" not in found.snippet
    assert found.snippet.endswith("Attached: report.pdf")


def test_a_message_in_html_is_its_words() -> None:
    text = b"Subject: =?iso-8859-1?q?caf=E9?=\nContent-Type: text/html; charset=latin-1\n\n<p>Hello <b>Bob\xe9</b></p><script>x()</script>"
    (found,) = read_chunks(text, ".eml")
    assert found.snippet == "café\n\nHello Bobé"


def test_an_mbox_is_read_by_message(made: ModuleType) -> None:
    one = (
        b"From ada Fri Mar  1 10:00:00 2024\nSubject: %s\nFrom: ada\n\n>From here on.\n"
        + LONG.encode()
        + b"\n\n"
    )
    found = read_chunks(one % b"first" + one % b"second", ".mbox")
    assert [(chunk.unit, chunk.first_line) for chunk in found] == [("message", 1), ("message", 2)]
    assert "\n\nFrom here on." in found[1].snippet and found[1].snippet.startswith("second")


def test_rtf_is_its_text() -> None:
    (found,) = read_chunks(
        rb"{\rtf1\ansi {\fonttbl{\f0 Times;}}Hello \b bold \b0 world\par caf\'e9\par}", ".rtf"
    )
    assert (found.snippet, found.unit, found.last_line) == ("Hello bold world\n\ncafé", "paragraph", 2)


def test_a_message_of_outlook(made: ModuleType) -> None:
    sent = (0x00390040).to_bytes(8, "little") + (133_536_672_000_000_000).to_bytes(8, "little")
    data = made.compound_file(
        {
            "__properties_version1.0": bytes(32) + sent,
            "__substg1.0_0037001F": "Kettle\0".encode("utf-16-le"),
            "__substg1.0_0C1A001E": b"Ada",
            "__substg1.0_10130102": b"<p>It is <b>broken</b>.</p>",
            "__attach_version1.0_#00000000/__substg1.0_3707001F": "Chart".encode("utf-16-le"),
        }
    )
    content = read_file(data, ".msg")
    assert [one.snippet for one in content.chunks] == [
        "Kettle\nFrom: Ada\nDate: 2024-02-29\n\nIt is broken.\n\nAttached: Chart"
    ]
    assert content.skipped == [("attachment Chart", "embedded object")]


def test_what_is_attached_to_a_message_of_outlook_and_to_one_in_it_is_read(made: ModuleType) -> None:
    content = read_file(made.msg(), ".msg")
    *_, last = [one for one in content.chunks if one.unit == "line"]
    assert last.snippet.endswith("It is broken.\n\nTea\n\nIt is cold.\n\nAttached: report.docx, points.txt")
    found = [(one.unit, one.snippet) for one in content.chunks if one.unit != "line"]
    assert [unit for unit, _ in found] == ["attachment report.docx, paragraph"] * 2 + [
        "attachment points.txt, line"
    ]
    assert found[-1][1] == "the list of all points" and content.skipped == []


# -- what is not read, by name -----------------------------------------------------------------------------


def refused(data: bytes, suffix: str) -> str:
    with pytest.raises(DataError) as caught:
        read_chunks(data, suffix)
    return str(caught.value)


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("suffix", "data", "reason"),
    [
        (".docx", b"words", "not a docx inside"),
        (".xlsx", b"", "not an xlsx inside"),
        (".docx", OLE + "EncryptedPackage".encode("utf-16-le"), "password-protected"),
        (".docx", OLE, "an Office file from before 2007: save it in today's format"),
        (".pptx", b"PK\3\4 and nothing more", "broken zip file"),
        (".docx", zipped(a="b"), "not a docx inside"),
        (".odt", zipped(**{"content.xml": "<x/>", "mimetype": "x.spreadsheet"}), "not an OpenDocument text inside"),
        (".odt", zipped(**{"content.xml": "<x/>", "META-INF__manifest.xml": "<encryption-data/>"}), "password-protected"),
        (".odt", zipped(**{"content.xml": "<x"}), "broken XML"),
        (".odt", zipped(**{"content.xml": "<x/>"}), "odt without text"),
        (".epub", zipped(a="b"), "not an epub inside"),
        (
            ".epub",
            zipped(**{"META-INF__container.xml": "<x/>", "META-INF__encryption.xml": '<EncryptionMethod Algorithm="aes"/>'}),
            "protected by DRM",
        ),
        (".rtf", b"words", "not an rtf inside"),
        (".eml", b"just words", "not a message inside"),
        (".mbox", b"Subject: one\n\nwords", "not an mbox inside"),
        (".msg", b"words", "not a msg inside"),
        (".msg", OLE, "broken msg"),
    ],
)  # fmt: skip
def test_the_reason_is_told(suffix: str, data: bytes, reason: str) -> None:
    assert refused(data, suffix) == reason


def test_an_encrypted_zip_file_is_password_protected(made: ModuleType) -> None:
    data = bytearray(made.docx())
    place = data.rfind(b"PK\x01\x02")
    data[place + 8] |= 1
    assert refused(bytes(data), ".docx") == "password-protected"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('<!DOCTYPE x [<!ENTITY a "aa">]><x>&a;</x>', "XML with entities, which can grow without end"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "XML with entities, which can grow without end"),
        ("<x>" + " " * 17_000_000 + "</x>", "too large when unpacked: 17 MB in a 16 kB file"),
    ],
)  # fmt: skip
def test_bombs_are_named(content: str, reason: str) -> None:
    assert refused(zipped(**{"content.xml": content}), ".odt") == reason


def test_a_text_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.index.files.documents.parts.MAX_CHARACTERS", 40)
    assert refused(zipped(**{"content.xml": f"<x>{'<p>some</p>' * 11}</x>"}), ".odt") == "over 40 characters"


def test_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.index.files.documents.zipped.MAX_MEMBERS", 2)
    assert refused(zipped(a="", b="", c=""), ".odt") == "over 2 files within"


def test_a_member_that_unpacks_to_more_than_it_says_is_broken() -> None:
    data = bytearray(zipped(**{"content.xml": "<x>" + "<p>words</p>" * 1000 + "</x>"}))
    place = data.find(b"PK\x01\x02")
    data[place + 24 : place + 28] = (50).to_bytes(4, "little")
    assert refused(bytes(data), ".odt") in ("broken odt", "broken XML")


def test_a_row_with_a_cell_at_the_far_edge_takes_no_room(made: ModuleType) -> None:
    parts = made.members(made.xlsx())
    rows = "".join(f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(1, 400))
    parts["xl/worksheets/sheet1.xml"] = f'<worksheet xmlns="x"><sheetData>{rows}</sheetData></worksheet>'
    assert refused(made.zipped(parts), ".xlsx").endswith("5,000,000 cells")


# -- the other process -------------------------------------------------------------------------------------


def test_a_reader_that_dies_or_takes_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def ask(self, *_: object, **__: object) -> None:
            raise self.error

    for error, reason in (
        (EOFError(), "docx that ended its reader"),
        (TimeoutError(), "docx that takes over 60 seconds"),
    ):
        monkeypatch.setattr(read_document, "_child", lambda error=error: Gone(error))
        assert refused(b"PK", ".docx") == reason


def test_another_process_reads_the_same(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made.docx()
    inside = read_chunks(data, ".docx")
    with Child(Path(process.__file__)) as child:
        monkeypatch.setattr(read_document, "_child", lambda: child)
        assert read_chunks(data, ".docx") == inside
        assert refused(b"", ".docx") == "not a docx inside"


def test_a_small_part_of_the_fuzz(made: ModuleType) -> None:
    results = [made.check(data, suffix) for data, suffix in made.random_documents(25, 5) if suffix != ".pdf"]
    assert "read" in results


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    read_document.not_read.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert read_document.not_read(".docx") == "docx, read with: pip install 'unbraid[documents]'"
    assert read_document.not_read(".eml") == read_document.not_read(".md") == ""
    read_document.not_read.cache_clear()


def test_base64_in_a_document_is_left_out() -> None:
    import base64
    import random

    encoded = base64.b64encode(random.Random(0).randbytes(3000)).decode()
    content = read_file(b"Subject: keys\n\n" + LONG.encode() + b"\n\n" + encoded.encode(), ".eml")
    assert content.left_out > 0 and content.chunks[0].snippet.startswith("keys")


# -- attached to a message ---------------------------------------------------------------------------------


def message(*attached: tuple[bytes, str, str], subject: str = "kettles") -> EmailMessage:
    """A message with files attached: (content, type, name)."""
    made = EmailMessage()
    made["Subject"] = subject
    made.set_content("see below")
    for content, kind, name in attached:
        main, sub = kind.split("/")
        made.add_attachment(content, maintype=main, subtype=sub, filename=name or None)
    return made


def test_what_is_attached_is_read_as_a_file_of_its_type_and_a_hit_says_where(made: ModuleType) -> None:
    sent = message(
        (made.docx(), "application/octet-stream", "report.docx"),
        (made.pdf(), "application/pdf", "kettle.pdf"),
        (b"def f():\n    return 1\n", "text/x-python", "../../src/b.py"),
        ("Größe".encode("latin-1"), 'text/plain; charset="latin-1"', "notes.txt"),
        (b"a plain text", "text/plain", ""),
    )
    content = read_file(bytes(sent), ".eml")
    assert content.skipped == [] and content.chunks[0].snippet.endswith(
        "Attached: report.docx, kettle.pdf, ../../src/b.py, notes.txt, unnamed.txt"
    )
    found = {one.unit: one for one in content.chunks}
    assert list(found) == [
        "line",
        "attachment report.docx, paragraph",
        "attachment kettle.pdf, page",
        "attachment b.py, line",
        "attachment notes.txt, line",
        "attachment unnamed.txt, line",
    ]
    assert found["attachment b.py, line"].modality == "code"
    assert found["attachment kettle.pdf, page"].last_line == 2
    assert found["attachment notes.txt, line"].snippet == "Größe"


def test_what_is_attached_in_an_mbox_is_told_with_its_message() -> None:
    box = b"".join(
        b"From ada Fri Mar  1 10:00:00 2024\n"
        + bytes(message((f"words of {n}".encode(), "text/plain", "a.txt")))
        + b"\n\n"
        for n in range(3)
    )
    found = [one for one in read_chunks(box, ".mbox") if "attachment" in one.unit]
    assert [(one.unit, one.snippet) for one in found] == [
        (f"message {n + 1}, attachment a.txt, line", f"words of {n}") for n in range(3)
    ]


def test_attachments_that_are_not_read_are_named(made: ModuleType) -> None:
    sent = message(
        (b"\x89PNG", "image/png", "logo.png"),
        (b"PK", "application/zip", "all.zip"),
        (b"\0\1", "application/octet-stream", "a.bin"),
        (b"", "text/plain", "empty.txt"),
        (b"words", "application/octet-stream", "broken.docx"),
        (b"\0\1", "application/msword", "old.doc"),
        (b"words " * 800_000, "text/plain", "big.txt"),
        (b"%PDF", "application/pdf", "x" * 400 + ".pdf"),
    )
    assert dict(read_file(bytes(sent), ".eml").skipped) == {
        "attachment logo.png": "picture in a message",
        "attachment all.zip": "archive in a message",
        "attachment a.bin": "binary",
        "attachment empty.txt": "empty",
        "attachment broken.docx": "not a docx inside",
        "attachment old.doc": "Word before 2007: save it as docx",
        "attachment big.txt": "too large",
        "attachment " + "x" * 146 + ".pdf": "broken PDF",
    }


def test_messages_attached_to_messages_are_read_to_a_depth() -> None:
    sent = message((b"the deepest words", "text/plain", "a.txt"))
    for n in range(4):
        sent = message((bytes(sent), "application/octet-stream", f"m{n}.eml"), subject=f"around {n}")
    content = read_file(bytes(sent), ".eml")
    units = [one.unit for one in content.chunks]
    assert units == [
        "line",
        "attachment m3.eml, line",
        "attachment m3.eml, attachment m2.eml, line",
    ]
    assert content.skipped == [
        (
            "attachment m3.eml, attachment m2.eml, attachment m1.eml",
            "attached to a message within others",
        )
    ]


def test_a_message_that_was_forwarded_as_it_was_is_part_of_the_text_and_its_attachments_too() -> None:
    inner = message((b"the words within", "text/plain", "a.txt"))
    outer = message()
    outer.add_attachment(inner)
    found = read_chunks(bytes(outer), ".eml")
    assert found[0].snippet.count("see below") == 2 and found[0].snippet.endswith("Attached: a.txt")
    assert (found[1].unit, found[1].snippet) == ("attachment a.txt, line", "the words within")


def test_a_message_in_an_archive_has_its_attachments_read() -> None:
    sent = message((b"the words within", "text/plain", "a.txt"), (b"\0", "image/png", "b.png"))
    content = read_archive(zipped(**{"mail__one.eml": bytes(sent)}), "all.zip")
    assert [one.unit for one in content.chunks] == [
        "mail/one.eml, line",
        "mail/one.eml, attachment a.txt, line",
    ]
    assert content.skipped == [("mail/one.eml, attachment b.png", "picture in a message")]


def test_attachments_are_limited_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = bytes(message(*((b"some words", "text/plain", f"{n}.txt") for n in range(3))))
    monkeypatch.setattr("unbraid.index.files.documents.parts.MAX_ATTACHED", 2)
    assert read_file(sent, ".eml").skipped == [("attachment 2.txt", "over 2 files before it")]
    monkeypatch.setattr("unbraid.index.files.documents.parts.MAX_ATTACHED_BYTES", 15)
    assert [name for name, _ in read_file(sent, ".eml").skipped] == ["attachment 1.txt", "attachment 2.txt"]


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            NAMES,
            st.sampled_from(["text/plain", "application/pdf", "image/png", "x/y"]),
            st.binary(max_size=60),
        ),
        max_size=4,
    )
)
def test_every_attachment_is_read_or_named(attached: list[tuple[str, str, bytes]]) -> None:
    sent = message(*((content, kind, name) for name, kind, content in attached))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_document, "_child", Here)
        content = read_file(bytes(sent), ".eml")
    read = {one.unit.rpartition(", ")[0] for one in content.chunks if one.unit != "line"}
    names = {name for name, _ in content.skipped} | read
    assert (
        len(names) <= len(attached) <= len(content.skipped) + len(content.chunks) - 1
    )  # names may be the same
    assert all(name.startswith("attachment ") and "/" not in name for name in names)
