import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.errors import ItemError
from unbraid.index import add as add_module
from unbraid.index.add import Report, add_files
from unbraid.index.files.walk import resolve_roots
from unbraid.index.roots import plan
from unbraid.index.store.folder_store import FolderStore
from unbraid.items import Code, Item


def add(
    store: FolderStore,
    model: Any,
    paths: Sequence[str | Path],
    *,
    fields: dict[str, str | int] | None = None,
    progress: bool = False,
) -> Report:
    known = store.files()
    planned = plan(resolve_roots(paths), [], {"fields": fields or {}}, known, None)
    return add_files(store, model, planned, known, prune=True, progress=progress)


def paragraphs(count: int, word: str = "word") -> str:
    """Text of `count` chunks: a paragraph of 200 words each."""
    return "\n\n".join(f"{word} {number} " + "word " * 198 for number in range(count))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = Path(os.path.realpath(tmp_path)) / "root"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.md").write_text(f"about {name}")
    return folder


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.unchanged, report.deleted


def names(store: FolderStore) -> list[str]:
    return sorted(Path(path).name for path in store.files())


def skipped(report: Report) -> dict[str, int]:
    return dict(Counter(one.reason for one in report.skipped))


def test_a_first_run_indexes_text_code_and_pictures(root: Path, store: FolderStore, model: Any) -> None:
    (root / "f.py").write_text("def f():\n    pass\n")
    Image.new("RGB", (2, 2)).save(root / "p.png")
    report = add(store, model, [root])
    assert counts(report) == (5, 0, 0, 0) and report.chunks == 5 and not report.interrupted
    assert set(report.seconds) == {"walk", "read", "encode", "write"}
    types = [type(item) for item in model.encoded]
    assert (types.count(str), types.count(Code), len(types)) == (3, 1, 5) and root / "p.png" in model.encoded
    picture = store.file((root / "p.png").as_posix())[0][0]
    assert (picture.path, picture.first_line, picture.snippet) == ((root / "p.png").as_posix(), None, "")


def test_a_second_run_reads_and_encodes_nothing(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, model, [root])
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"read {path}"))
    assert counts(add(store, model, [root])) == (0, 0, 3, 0)
    assert len(model.encoded) == 3


def test_a_touched_file_is_read_once_and_not_encoded(root: Path, store: FolderStore, model: Any) -> None:
    add(store, model, [root])
    os.utime(root / "a.md", ns=(5, 5))
    assert counts(add(store, model, [root])) == (0, 0, 3, 0)
    assert store.files()[str(root / "a.md")].mtime_ns == 5
    assert len(model.encoded) == 3


def test_only_what_changed_is_encoded_and_its_old_chunks_go(
    root: Path, store: FolderStore, model: Any
) -> None:
    (root / "a.md").write_text(paragraphs(3))
    add(store, model, [root])
    (root / "a.md").write_text("short now")
    assert counts(add(store, model, [root])) == (0, 1, 2, 0)
    assert model.encoded[-1] == "short now" and len(model.encoded) == 6
    assert store.count() == 3


def test_deleted_files_leave(root: Path, store: FolderStore, model: Any) -> None:
    add(store, model, [root])
    (root / "b.md").unlink()
    assert counts(add(store, model, [root])) == (0, 0, 2, 1)
    assert names(store) == ["a.md", "c.md"]


@pytest.mark.parametrize("target", ["z.md", "sub/a.md"])
def test_a_moved_file_keeps_its_vectors(root: Path, store: FolderStore, model: Any, target: str) -> None:
    (root / "a.md").write_text(paragraphs(3))
    add(store, model, [root])
    before = store.file(str(root / "a.md"))[1]
    encoded = len(model.encoded)
    (root / "sub").mkdir()
    (root / "a.md").rename(root / target)
    report = add(store, model, [root])
    assert (*counts(report), report.moved, len(model.encoded)) == (0, 0, 2, 0, 1, encoded)
    entries, vectors = store.file(str(root / target))
    assert [entry.chunk for entry in entries] and {entry.path for entry in entries} == {str(root / target)}
    np.testing.assert_array_equal(np.sort(vectors, axis=0), np.sort(before, axis=0))
    assert str(root / "a.md") not in store.files() and store.count() == 5
    assert counts(add(store, model, [root])) == (0, 0, 3, 0)


def test_a_copied_file_takes_the_vectors_and_leaves_the_first(
    root: Path, store: FolderStore, model: Any
) -> None:
    add(store, model, [root])
    (root / "z.md").write_bytes((root / "a.md").read_bytes())
    report = add(store, model, [root])
    assert (*counts(report), report.moved, len(model.encoded)) == (0, 0, 3, 0, 1, 3)
    assert names(store) == ["a.md", "b.md", "c.md", "z.md"]


def test_a_file_moved_in_from_outside_the_given_paths_is_not_encoded(
    root: Path, store: FolderStore, model: Any
) -> None:
    (root / "sub").mkdir()
    add(store, model, [root])
    (root / "a.md").rename(root / "sub" / "a.md")
    report = add(store, model, [root / "sub"])
    assert (report.moved, report.deleted, len(model.encoded)) == (1, 0, 3)
    assert names(store) == ["a.md", "a.md", "b.md", "c.md"]  # the old one is not under the path given


def test_another_suffix_or_another_content_of_the_same_size_is_encoded(
    root: Path, store: FolderStore, model: Any
) -> None:
    add(store, model, [root])
    (root / "a.md").rename(root / "a.txt")  # headings mean nothing there
    (root / "b.md").unlink()
    (root / "y.md").write_text("about y")
    report = add(store, model, [root])
    assert (report.moved, report.added, report.deleted) == (0, 2, 2)


def test_many_moved_files_are_taken_over_in_groups(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_module, "GROUP", 2)
    add(store, model, [root])
    root.rename(root.parent / "renamed")
    root.mkdir()
    report = add(store, model, [root.parent / "renamed", root])
    assert (report.moved, report.deleted, len(model.encoded)) == (3, 0, 3)
    assert {Path(path).parent.name for path in store.files()} == {"renamed"}


def test_a_file_cut_off_half_way_is_no_source_of_vectors(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_module, "GROUP", 2)
    (root / "a.md").write_text(paragraphs(5))
    interrupt_at(model, 1)
    add(store, model, [root / "a.md"])
    model.fail = lambda items: None
    (root / "a.md").rename(root / "z.md")
    report = add(store, model, [root])
    assert (report.moved, store.files()[str(root / "z.md")].complete) == (0, True)


def test_files_that_became_ignored_or_binary_leave(root: Path, store: FolderStore, model: Any) -> None:
    add(store, model, [root])
    (root / ".gitignore").write_text("a.md\n")
    (root / "b.md").write_bytes(b"x" * 9000 + b"\0\1\2\xff" * 3000)
    report = add(store, model, [root])
    assert names(store) == ["c.md"] and report.deleted == 2
    assert skipped(report) == {"hidden": 1, "ignored": 1, "binary": 1}


def test_files_outside_the_given_paths_stay(root: Path, store: FolderStore, model: Any) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "d.md").write_text("about d")
    add(store, model, [root])
    (root / "a.md").unlink()
    assert counts(add(store, model, [root / "sub"])) == (0, 0, 1, 0)
    assert "a.md" in names(store)


def test_files_that_cannot_be_read_now_stay(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "d.md").write_text("about d")
    add(store, model, [root])
    real = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "sub":
            raise PermissionError(folder)
        return real(folder)

    monkeypatch.setattr("os.scandir", scandir)
    report = add(store, model, [root])
    assert counts(report) == (0, 0, 3, 0) and skipped(report) == {"unreadable": 1}
    assert "d.md" in names(store)


def test_a_broken_picture_is_counted_and_the_rest_goes_in(root: Path, store: FolderStore, model: Any) -> None:
    (root / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Image.new("RGB", (2, 2)).save(root / "good.png")
    report = add(store, model, [root])
    assert [(one.path, one.reason) for one in report.skipped] == [(root / "bad.png", "broken picture")]
    assert names(store) == ["a.md", "b.md", "c.md", "good.png"] and report.added == 4


def test_a_picture_that_broke_leaves(root: Path, store: FolderStore, model: Any) -> None:
    Image.new("RGB", (2, 2)).save(root / "p.png")
    add(store, model, [root])
    (root / "p.png").write_bytes(b"broken")
    assert add(store, model, [root]).deleted == 1
    assert names(store) == ["a.md", "b.md", "c.md"]


def test_vectors_belong_to_their_rows_after_a_broken_picture(
    root: Path, store: FolderStore, model: Any
) -> None:
    (root / "0.png").write_bytes(b"broken")
    add(store, model, [root])
    found = [store.file(path) for path in store.files()]
    entries = [entry for part, _ in found for entry in part]
    vectors = np.concatenate([rows for _, rows in found])
    np.testing.assert_array_equal(vectors, model.encode([entry.snippet for entry in entries]))


def test_what_the_model_cannot_encode_is_counted_and_stays(
    root: Path, store: FolderStore, model: Any
) -> None:
    Image.new("RGB", (2, 2)).save(root / "p.png")
    add(store, model, [root])
    model.modalities = ("text",)
    Image.new("RGB", (3, 3)).save(root / "q.png")
    report = add(store, model, [root])
    assert counts(report) == (0, 0, 3, 0) and skipped(report) == {"no image encoder": 2}
    assert "p.png" in names(store)


def test_blank_files_are_skipped_as_empty(root: Path, store: FolderStore, model: Any) -> None:
    (root / "blank.md").write_text(" \n\n")
    assert skipped(add(store, model, [root])) == {"empty": 1}


def test_an_empty_folder_is_no_error(tmp_path: Path, store: FolderStore, model: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert counts(add(store, model, [tmp_path / "empty"])) == (0, 0, 0, 0)
    assert model.batches == []


def test_the_byte_order_mark_is_not_part_of_the_text(root: Path, store: FolderStore, model: Any) -> None:
    (root / "a.md").write_bytes(b"\xef\xbb\xbfmarked")
    add(store, model, [root / "a.md"])
    assert model.encoded == ["marked"]


def test_broken_documents_are_counted_by_reason_and_the_rest_goes_in(
    root: Path, store: FolderStore, model: Any
) -> None:
    (root / "n.ipynb").write_text("no notebook")
    (root / "p.pdf").write_bytes(b"no PDF")
    (root / "h.html").write_text("<p>seen</p><script>unseen</script>")
    report = add(store, model, [root])
    assert skipped(report) == {"broken notebook": 1, "broken PDF": 1} and report.added == 4
    assert "seen" in model.encoded


def test_a_notebook_has_text_and_code_where_the_model_encodes_both(
    root: Path, store: FolderStore, model: Any
) -> None:
    cells = [
        {"cell_type": "markdown", "source": paragraphs(1)},
        {"cell_type": "code", "source": paragraphs(1, "code")},
    ]
    (root / "n.ipynb").write_text(json.dumps({"cells": cells}))
    add(store, model, [root / "n.ipynb"])
    assert [type(item) for item in model.encoded] == [str, Code]
    assert store.facet("modality") == {"code": 1, "text": 1}
    store.delete(store.files())
    model.modalities = ("code",)
    add(store, model, [root / "n.ipynb"])
    assert store.facet("modality") == {"code": 2}


def test_without_the_extra_pdfs_are_skipped_and_stay(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_module, "can_read_pdf", lambda: False)
    (root / "p.pdf").write_bytes(b"%PDF-1.4")
    report = add(store, model, [root])
    assert skipped(report) == {"PDF, read with: pip install 'unbraid[documents]'": 1}
    assert counts(report) == (3, 0, 0, 0)


def test_files_are_batched_together(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_module, "GROUP", 4)
    (root / "d.md").write_text(paragraphs(6))
    add(store, model, [root])
    assert [len(batch) for batch in model.batches] == [4, 4, 1]


def interrupt_at(model: Any, call: int) -> None:
    def fail(items: Sequence[Item]) -> None:
        if len(model.batches) == call:
            raise KeyboardInterrupt

    model.fail = fail


def test_ctrl_c_keeps_what_was_written_and_the_next_run_goes_on(
    root: Path, model: Any, monkeypatch: pytest.MonkeyPatch, open_store: Callable[..., FolderStore]
) -> None:
    monkeypatch.setattr(add_module, "GROUP", 2)
    interrupt_at(model, 1)
    with open_store(root.parent / "index") as store:
        report = add(store, model, [root])
        assert report.interrupted and counts(report) == (2, 0, 0, 0)
    with open_store(root.parent / "index") as store:
        assert names(store) == ["a.md", "b.md"]
        model.fail = lambda items: None
        assert counts(add(store, model, [root])) == (1, 0, 2, 0)
        assert names(store) == ["a.md", "b.md", "c.md"]


def test_an_interrupted_run_deletes_nothing(root: Path, store: FolderStore, model: Any) -> None:
    add(store, model, [root])
    (root / "a.md").unlink()
    (root / "d.md").write_text("new")
    interrupt_at(model, len(model.batches))
    assert add(store, model, [root]).interrupted
    assert names(store) == ["a.md", "b.md", "c.md"]


def test_a_file_cut_off_half_way_is_done_again(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_module, "GROUP", 2)
    (root / "a.md").write_text(paragraphs(5))
    interrupt_at(model, 1)
    add(store, model, [root / "a.md"])
    state = store.files()[str(root / "a.md")]
    assert (state.points, state.expected, state.complete) == (2, 5, False)
    model.fail = lambda items: None
    assert counts(add(store, model, [root / "a.md"])) == (0, 1, 0, 0)
    assert store.files()[str(root / "a.md")].complete and store.count() == 5


def test_a_changed_file_is_never_missing_in_between(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_module, "GROUP", 2)
    (root / "a.md").write_text(paragraphs(5, "old"))
    add(store, model, [root / "a.md"])
    (root / "a.md").write_text(paragraphs(3, "new"))
    interrupt_at(model, len(model.batches) + 1)
    add(store, model, [root / "a.md"])
    snippets = [entry.snippet[:3] for entry in store.file((root / "a.md").as_posix())[0]]
    assert (snippets.count("old"), snippets.count("new")) == (5, 2)
    model.fail = lambda items: None
    add(store, model, [root / "a.md"])
    snippets = [entry.snippet[:3] for entry in store.file((root / "a.md").as_posix())[0]]
    assert (snippets.count("old"), snippets.count("new")) == (0, 3)


def test_progress_is_drawn_on_standard_error(
    root: Path,
    store: FolderStore,
    model: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich draws nothing where it sees no terminal
    add(store, model, [root], progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "indexing" in captured.err
    add(store, model, [root])
    assert capsys.readouterr().err == ""


def test_kill_9_loses_only_the_groups_under_way(
    root: Path, model: Any, open_store: Callable[..., FolderStore]
) -> None:
    (root / "big.md").write_text(paragraphs(1200))
    child = subprocess.run([sys.executable, __file__, str(root)], capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    with open_store(root.parent / "index") as store:
        assert names(store) == ["a.md", "b.md", "big.md"]
        # The third group was being encoded; the second one was being written, or was on the disk.
        assert store.count() in (64, 320) and not store.files()[str(root / "big.md")].complete
        assert counts(add(store, model, [root])) == (1, 1, 2, 0)
        assert store.count() == 1203


def test_fields_are_kept_added_and_taken_away(root: Path, store: FolderStore, model: Any) -> None:
    add(store, model, [root], fields={"team": "search", "year": 2024})
    report = add(store, model, [root / "a.md"], fields={"year": 2025, "team": ""})
    assert report.chunks == 0 and report.unchanged == 1
    (root / "b.md").write_text("changed")
    add(store, model, [root])
    fields = {Path(path).name: state.fields for path, state in store.files().items()}
    both = {"team": "search", "year": 2024}
    assert fields == {"a.md": {"year": 2025}, "b.md": both, "c.md": both}


def test_a_moved_file_keeps_its_fields_and_gets_those_of_the_run(
    root: Path, store: FolderStore, model: Any
) -> None:
    add(store, model, [root], fields={"team": "search"})
    (root / "a.md").rename(root / "z.md")
    add(store, model, [root], fields={"year": 2025})
    assert store.files()[(root / "z.md").as_posix()].fields == {"team": "search", "year": 2025}


def test_every_chunk_knows_the_language_of_its_file(root: Path, store: FolderStore, model: Any) -> None:
    (root / "f.py").write_text("def f():\n    pass\n")
    Image.new("RGB", (2, 2)).save(root / "p.png")
    add(store, model, [root])
    languages = {Path(path).name: store.file(path)[0][0].language for path in store.files()}
    assert languages == {**dict.fromkeys(("a.md", "b.md", "c.md"), "markdown"), "f.py": "python", "p.png": ""}


if __name__ == "__main__":  # the child of test_kill_9_loses_only_the_groups_under_way
    sys.path.insert(0, str(Path(__file__).parent))
    from conftest import TinyModel, open_folder

    killed = TinyModel()

    def kill(items: Sequence[Item]) -> None:
        if len(killed.batches) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    killed.fail = kill
    add(open_folder(Path(sys.argv[1]).parent / "index"), killed, [sys.argv[1]])


# -- fields of any value, front matter, encodings ------------------------------------------------------------


def test_a_field_may_hold_anything(index_of_files):
    index, folder = index_of_files
    for name, fields in {
        "a": {"version": 1, "commit": 1234567, "day": 20240501, "zip": "00123"},
        "b": {"version": "1.1", "commit": "1a2b3c4", "day": "2024-05-01", "zip": 123},
    }.items():
        (folder / name).mkdir()
        (folder / name / f"{name}.md").write_text(f"notes {name}")
        index.add(folder / name, fields=fields)

    def found(where):
        return sorted(Path(hit.path).stem for hit in index.search("notes", where=where))

    assert found("version=1") == found("zip=00123") == found("commit=1234567") == ["a"]
    assert found("version=1.1") == found("zip=123") == found("day>=2024-04") == ["b"]
    assert found("version>=1") == ["a", "b"]
    with pytest.raises(ItemError, match="did you mean version"):
        found("versoin=1")
    assert index.search("notes", path=[]) == index.search("notes", language=[]) == []


def test_front_matter_gives_fields_that_change_with_the_file(index_of_files):
    index, folder = index_of_files
    note = folder / "a.md"
    note.write_text("---\ntags: [red, blue]\nteam: x\ndraft: true\n---\n# Kettle\n")
    index.add(folder, fields={"team": "search"})
    (entry,) = index.entries(note)
    assert entry.fields == {"tags": ["red", "blue"], "team": "search", "draft": "true"}
    assert len(index.search("kettle", where=["tags=red", "team=search"])) == 1
    assert index.search("kettle", where="tags!=blue") == []
    note.write_text("---\ntags: green\nteam: y\n---\n# Kettle\n")
    index.add(folder)
    (entry,) = index.entries(note)
    assert entry.fields == {
        "tags": "green",
        "team": "search",
    }  # what the user said stays, what the file says changes


def test_a_file_in_an_old_encoding_is_read_and_reported(index_of_files):
    index, folder = index_of_files
    (folder / "a.txt").write_bytes("Die Größe der Übertragung für Schüler.".encode("cp1252"))
    (folder / "b.ps1").write_bytes("Write-Host 'hi'".encode("utf-16"))
    report = index.add(folder)
    assert [(one.path.name, one.reason) for one in report.assumed] == [("a.txt", "cp1252")]
    assert report.added == 2 and not report.skipped
    assert index.entries(folder / "a.txt")[0].snippet == "Die Größe der Übertragung für Schüler."


@pytest.fixture
def index_of_files(tmp_path, tiny_model):
    folder = tmp_path / "files"
    folder.mkdir()
    with unbraid.open_index(tmp_path / "index", model=tiny_model()) as index:
        yield index, folder.resolve()
