import gzip
import io
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

import unbraid
from unbraid.errors import DataError
from unbraid.index.files import read_archive as module
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
    content, skipped = read_archive(data, "all.zip")
    assert skipped == []
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
    content, skipped = read_archive(zipped(members, links=("link.txt",)), "all.zip")
    assert [one.unit for one in content.chunks] == ["ok.txt, line"]
    assert dict(skipped) == {
        "/etc/passwd": "its name leads out of the archive",
        "a/../../b.txt": "its name leads out of the archive",
        "C:\\b.txt": "its name leads out of the archive",
        ".git/config": "passed over",
        "node_modules/a.js": "passed over",
        "__MACOSX/a.txt": "passed over",
        ".env": "hidden",
        "inner.zip": "archive in an archive",
        "link.txt": "symbolic link",
        "a.png": "picture in an archive",
        "a.bin": "binary",
        "old.doc": "Word before 2007: save it as docx",
        "package-lock.json": "lock file",
        "empty.txt": "empty",
        "broken.docx": "not a docx inside",
        "big.txt": "too large",
    }


def test_a_gzip_file_is_the_file_in_it() -> None:
    content, skipped = read_archive(gzip.compress(b"# One\n\nwords"), "notes.md.gz")
    assert [(one.unit, one.first_line, one.last_line) for one in content.chunks] == [("notes.md, line", 1, 3)]
    assert skipped == []
    assert read_archive(gzip.compress(b"\0\1"), "a.tar.gz") == (module.FileContent([]), [("a.tar", "binary")])


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"words", "a.zip", "broken zip file"),
        (b"words", "a.gz", "broken gzip file"),
        (gzip.compress(b"words" * 100, mtime=0)[:-9], "a.txt.gz", "broken gzip file"),
        (gzip.compress(bytes(5_000_000)), "a.txt.gz", "too large when unpacked: over 4 MB in a 4 kB file"),
        (zipped({"a.txt": bytes(20_000_000)}), "a.zip", "too large when unpacked: 20 MB in a 19 kB file"),
    ],
)
def test_a_broken_archive_and_a_bomb_are_named(data: bytes, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}$"):
        read_archive(data, name)


def test_the_text_of_all_files_together_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHARACTERS", 9)
    with pytest.raises(DataError, match="over 9 characters within"):
        read_archive(zipped({"a.txt": "words", "b.txt": "words"}), "a.zip")


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
    content, skipped = read_archive(zipped({"a.md": "words", name: "x"}), "all.zip")
    assert [one.unit for one in content.chunks] == ["a.md, line"]
    assert all(reason in ("it has no name", "its name leads out of the archive") for _, reason in skipped)


def test_a_long_name_is_read_by_its_own_suffix_and_shown_by_its_end() -> None:
    name = "folder/" * 40 + "b.py"
    content, _ = read_archive(zipped({name: "def f():\n    return 1\n"}), "all.zip")
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
