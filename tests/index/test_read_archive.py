import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unbraid
from unbraid.errors import DataError
from unbraid.index.files import read_document, within
from unbraid.index.files.documents import process
from unbraid.index.files.read_archive import read_archive


def zipped(members: dict[str, str | bytes], links: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            about = zipfile.ZipInfo(name)
            about.external_attr = (stat.S_IFLNK | 0o777 if name in links else stat.S_IFREG | 0o644) << 16
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, content)
    return out.getvalue()


def test_the_files_in_a_zip_are_read_as_those_of_a_folder() -> None:
    data = zipped(
        {
            "docs/a.md": "# One\n\nwords",
            "src/b.py": "def f():\n    return 1\n",
            "c.csv": "name,town\nAda,London\n",
        }
    )
    content = read_archive(data, "all.zip")
    assert content.skipped == []
    assert [(one.unit, one.modality, one.first_line, one.last_line) for one in content.chunks] == [
        ("docs/a.md, line", "text", 1, 3),
        ("src/b.py, line", "code", 1, 2),
        ("c.csv, line", "text", 1, 1),
        ("c.csv, line", "text", 2, 2),
    ]
    assert content.chunks[3].snippet.endswith("name: Ada, town: London")


def test_what_is_left_out_is_named() -> None:
    members: dict[str, str | bytes] = {
        "/etc/passwd": "x",
        "a/../../b.txt": "x",
        "C:\\b.txt": "x",
        ".git/config": "x",
        "node_modules/a.js": "x",
        "__MACOSX/a.txt": "x",
        ".env": "x",
        "inner.zip": "x",
        "inner.tar.xz": "x",
        "link.txt": "/etc/passwd",
        "a.png": "x",
        "a.bin": b"\0\1\2",
        "old.doc": b"\0\1\2",
        "package-lock.json": "{}",
        "empty.txt": "",
        "broken.docx": "words",
        "big.txt": "words " * 800_000,
        "ok.txt": "words",
    }
    content = read_archive(zipped(members, links=("link.txt",)), "all.zip")
    assert [one.unit for one in content.chunks] == ["ok.txt, line"]
    assert dict(content.skipped) == {
        "/etc/passwd": "its name leads out of the archive",
        "a/../../b.txt": "its name leads out of the archive",
        "C:\\b.txt": "its name leads out of the archive",
        ".git/config": "passed over",
        "node_modules/a.js": "passed over",
        "__MACOSX/a.txt": "passed over",
        ".env": "hidden",
        "inner.zip": "archive in an archive",
        "inner.tar.xz": "archive in an archive",
        "link.txt": "symbolic link",
        "a.png": "picture in an archive",
        "a.bin": "binary",
        "old.doc": "Word before 2007: save it as docx",
        "package-lock.json": "lock file",
        "empty.txt": "empty",
        "broken.docx": "not a docx inside",
        "big.txt": "too large",
    }


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_packed_file_is_the_file_in_it(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    content = read_archive(pack(b"# One\n\nwords"), f"notes.md.{suffix}")
    assert [(one.unit, one.first_line, one.last_line) for one in content.chunks] == [("notes.md, line", 1, 3)]
    assert content.skipped == []
    assert read_archive(pack(b"\0\1"), f"a.bin.{suffix}").skipped == [("a.bin", "binary")]
    with pytest.raises(DataError, match=f"^broken {suffix} file$"):
        read_archive(pack(b"words" * 100)[:-9], f"a.txt.{suffix}")
    with pytest.raises(DataError, match="^too large when unpacked: over 4 MB in a"):
        read_archive(pack(bytes(5_000_000)), f"a.txt.{suffix}")


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"words", "a.zip", "broken zip file"),
        (b"words", "a.gz", "broken gz file"),
        (zipped({"a.txt": bytes(20_000_000)}), "a.zip", "too large when unpacked: 20 MB in a 19 kB file"),
    ],
)
def test_a_broken_archive_and_a_bomb_are_named(data: bytes, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}$"):
        read_archive(data, name)


def test_the_text_of_all_files_together_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "MAX_CHARACTERS", 9)
    content = read_archive(zipped({"a.txt": "words", "b.txt": "words", "c.txt": "words"}), "a.zip")
    assert len(content.chunks) == 2
    assert content.skipped == [("c.txt", "over 9 characters in those before it")]


def test_an_index_reads_archives_by_choice_and_hits_say_where(tmp_path: Path, model: Any) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "all.zip").write_bytes(zipped({"docs/a.md": "zebra words", "b.bin": b"\0\1\2"}))
    (root / "mail.eml").write_bytes(b"Subject: giraffe\n\nwords")
    (root / "old.doc").write_bytes(b"\0\1\2")
    with unbraid.open_index(tmp_path / "index", model=model) as index:
        report = index.add(root, progress=False)
        assert {one.path.name: one.reason for one in report.skipped} == {
            "all.zip": "archive, read with --archives",
            "old.doc": "Word before 2007: save it as docx",
        }
        report = index.add(root, archives=True, progress=False)
        assert report.added == 1 and ("all.zip/b.bin", "binary") in [
            (one.path.relative_to(root.resolve()).as_posix(), one.reason) for one in report.skipped
        ]
        assert index.add(root, progress=False).deleted == 0
        hit = index.search("zebra")[0]
        assert hit.unit == "docs/a.md, line" and hit.place.endswith("all.zip docs/a.md, line 1")
        assert index.search("giraffe")[0].place.endswith("mail.eml line 1-3")


@pytest.mark.parametrize("name", [".", "./", "/", ""])
def test_a_member_without_a_name_is_left_out(name: str) -> None:
    content = read_archive(zipped({"a.md": "words", name: "x"}), "all.zip")
    assert [one.unit for one in content.chunks] == ["a.md, line"]
    reasons = {reason for _, reason in content.skipped}
    assert reasons <= {"it has no name", "its name leads out of the archive"}


def test_a_long_name_is_read_by_its_own_suffix_and_shown_by_its_end() -> None:
    name = "folder/" * 40 + "b.py"
    content = read_archive(zipped({name: "def f():\n    return 1\n"}), "all.zip")
    (chunk,) = content.chunks
    assert chunk.modality == "code" and chunk.unit.endswith("folder/b.py, line") and len(chunk.unit) < 210


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_a_block_of_any_size_is_refused(method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a.txt", "words")
    with pytest.raises(DataError, match="packed in a way that is not read"):
        read_archive(out.getvalue(), "all.zip")


def test_no_more_is_unpacked_than_a_member_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: asked.append(n) or read(self, n))
    read_archive(zipped({"a.txt": "words"}), "all.zip")
    assert asked == [5]


# -- tar ---------------------------------------------------------------------------------------------------

PACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tbz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
}


class Here:
    def ask(self, request: dict[str, str], data: bytes, *, seconds: float) -> object:
        return process.reply(request, data)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tar archives and messages are read in this process, which is quicker."""

    monkeypatch.setattr(read_document, "_child", Here)


def tarred(members: dict[str, str | bytes], kinds: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            about = tarfile.TarInfo(name)
            about.type = (kinds or {}).get(name, tarfile.REGTYPE)
            about.linkname = "docs/a.md"
            about.size = len(data) if about.isreg() else 0
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("suffix", PACK)
def test_the_files_in_a_tar_are_read_as_those_of_a_folder(suffix: str) -> None:
    data = tarred({"./docs/a.md": "# One\n\nwords", "src/b.py": "def f():\n    return 1\n"})
    content = read_archive(PACK[suffix](data), f"ALL{suffix.upper()}")
    assert [(one.unit, one.modality, one.first_line, one.last_line) for one in content.chunks] == [
        ("docs/a.md, line", "text", 1, 3),
        ("src/b.py, line", "code", 1, 2),
    ]
    assert content.skipped == []


@pytest.mark.usefixtures("here")
def test_links_devices_and_names_that_lead_out_of_a_tar_are_left_out_by_name() -> None:
    kinds = {
        "link.txt": tarfile.SYMTYPE,
        "hard.txt": tarfile.LNKTYPE,
        "null": tarfile.CHRTYPE,
        "disk": tarfile.BLKTYPE,
        "pipe": tarfile.FIFOTYPE,
        "docs": tarfile.DIRTYPE,
    }
    names = ["/etc/passwd", "a/../../b.txt", ".git/config", "._a.md", "a.png", "inner.zip", "a.bin", *kinds]
    content = read_archive(tarred(dict.fromkeys(names, b"\0\1") | {"ok.txt": "words"}, kinds), "a.tar")
    assert [one.unit for one in content.chunks] == ["ok.txt, line"]
    assert dict(content.skipped) == {
        "/etc/passwd": "its name leads out of the archive",
        "a/../../b.txt": "its name leads out of the archive",
        ".git/config": "passed over",
        "._a.md": "hidden",
        "a.png": "picture in an archive",
        "inner.zip": "archive in an archive",
        "a.bin": "binary",
        "link.txt": "symbolic link",
        "hard.txt": "hard link",
        "null": "not a regular file",
        "disk": "not a regular file",
        "pipe": "not a regular file",
    }


@pytest.mark.usefixtures("here")
def test_a_sparse_file_in_a_tar_is_left_out() -> None:
    """A header of 512 bytes that says that it holds eight gigabytes of zeros."""
    header = bytearray(tarfile.TarInfo("big.txt").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"00077777777\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert read_archive(bytes(header) + bytes(1024), "a.tar").skipped == [("big.txt", "sparse file")]


@pytest.mark.usefixtures("here")
def test_of_two_files_with_one_name_in_a_tar_the_last_counts() -> None:
    out = tarred({"a.txt": "old"})[:1024] + tarred({"a.txt": "new"})
    assert [one.snippet for one in read_archive(out, "a.tar").chunks] == ["new"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"words", "a.tar", "broken tar file"),
        (b"words", "a.tar.gz", "broken tar file"),
        (tarred({"a.txt": "words" * 999})[:900], "a.tar", "broken tar"),
        (gzip.compress(tarred({"a.txt": "words" * 999}))[:-9], "a.tgz", "broken tgz"),
        (tarred({"a.txt": "one"})[:1024] + b"x" * 512, "a.tar", "broken tar file"),
        (bytes(10_240), "a.tar", "empty"),
        (tarred({}), "a.tar", "empty"),
        (
            gzip.compress(tarred({"a.txt": bytes(20_000_000)})),
            "a.tar.gz",
            "too large when unpacked: over 16 MB in a 19 kB file",
        ),
    ],
)
def test_a_broken_tar_and_a_bomb_are_named(data: bytes, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}$"):
        read_archive(data, name)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize(("size", "shown"), [(70_000, "70 kB"), (8**11 - 1, "8 GB")])
def test_what_is_said_of_a_file_in_a_tar_has_a_limit(kind: bytes, size: int, shown: str) -> None:
    about = tarfile.TarInfo("x")
    about.type, about.size = kind, size
    with pytest.raises(DataError, match=f"^header of {shown} within$"):
        read_archive(about.tobuf(tarfile.GNU_FORMAT)[:512] + b"1" * 71_680, "a.tar")


@pytest.mark.usefixtures("here")
def test_a_long_name_and_a_foreign_one_are_read() -> None:
    names = ["long/" * 60 + "a.txt", "Größe.txt"]
    content = read_archive(tarred(dict.fromkeys(names, "words")), "a.tar")
    assert [one.unit[-25:] for one in content.chunks] == [f"{name}, line"[-25:] for name in names]


@pytest.mark.usefixtures("here")
def test_many_files_in_a_tar_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.index.files.documents.tarred.MAX_MEMBERS", 2)
    with pytest.raises(DataError, match="^over 2 files within$"):
        read_archive(tarred({name: "x" for name in ("a.txt", "b.txt", "c.txt")}), "a.tar")


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,2}\.txt", fullmatch=True), st.text("ab \n", max_size=50)
    ),
    st.sampled_from(sorted(PACK)),
)
def test_what_is_packed_is_found_again(members: dict[str, str], suffix: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_document, "_child", Here)
        try:
            content = read_archive(PACK[suffix](tarred(members)), f"a{suffix}")
        except DataError as error:
            assert str(error) == "empty" and not members
            return
    found = {one.unit.removesuffix(", line"): one.snippet for one in content.chunks}
    assert {name: " ".join(text.split()) for name, text in found.items()} == {
        name: " ".join(text.split()) for name, text in members.items() if text.strip()
    }
