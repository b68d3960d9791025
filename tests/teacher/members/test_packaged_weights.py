import hashlib
import io
import json
import zipfile

import pytest

from unbraid.errors import DataError, TeacherError
from unbraid.io.package_files import PackageFile, requirements
from unbraid.teacher.members import packaged_weights
from unbraid.teacher.members.packaged_weights import PACKAGED, Packaged, packaged_folder

CONTENT = b"weights" * 10
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILES = (PackageFile("half-one", "1.0", "one/a.bin"), PackageFile("half-two", "1.0", "two/b.bin"))


def write(parts, folder):
    (folder / "model.safetensors").write_bytes(b"".join(parts))


@pytest.fixture
def packages(installed_packages, monkeypatch, tmp_path):
    """A member in two packages that are installed in a folder, and an empty home."""
    for path, content in (("one/a.bin", CONTENT[:30]), ("two/b.bin", CONTENT[30:])):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(content)

    installed = installed_packages
    installed |= {"half-one", "half-two"}
    monkeypatch.setitem(PACKAGED, "tiny", Packaged(FILES, SHA256, write))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return installed


def test_pieces_of_several_packages_make_one_folder_in_the_cache(packages, tmp_path):
    folder, revision = packaged_folder("tiny")
    assert revision == SHA256[:12] and folder.is_relative_to(tmp_path / "home" / ".cache" / "unbraid")
    assert (folder / "model.safetensors").read_bytes() == CONTENT


def test_a_folder_in_the_cache_is_not_made_again_and_needs_no_packages(packages):
    folder, _ = packaged_folder("tiny")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    packages.clear()
    assert packaged_folder("tiny")[0] == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_package_that_holds_a_folder_is_used_in_its_place(packages, monkeypatch, tmp_path):
    monkeypatch.setitem(PACKAGED, "tiny", Packaged(FILES[:1], hashlib.sha256(CONTENT[:30]).hexdigest()))
    assert packaged_folder("tiny")[0] == tmp_path / "one"
    assert not (tmp_path / "home").exists()


def test_a_member_whose_packages_are_absent_has_no_folder(packages):
    packages.remove("half-two")
    assert packaged_folder("tiny") is None
    assert requirements(FILES) == ["half-one==1.0", "half-two==1.0"]


def test_a_damaged_piece_leaves_no_folder(packages, tmp_path):
    (tmp_path / "two/b.bin").write_bytes(b"x" + CONTENT[31:])
    with pytest.raises(DataError, match=r"half-one==1.0 half-two==1.0: sha256 is .*, expected .*--no-deps"):
        packaged_folder("tiny")
    assert not (tmp_path / "home").exists()


def test_an_installation_without_the_file_is_refused(packages, tmp_path):
    (tmp_path / "two/b.bin").unlink()
    with pytest.raises(DataError, match=r"half-two 1.0 is installed without two/b.bin"):
        packaged_folder("tiny")


def test_a_folder_that_changed_or_lost_its_record_is_refused(packages):
    folder, _ = packaged_folder("tiny")
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(TeacherError, match=r"sha256 is .*: delete the folder, it is made again"):
        packaged_folder("tiny")
    (folder / packaged_weights.RECORD).write_text(json.dumps({}))
    with pytest.raises(TeacherError, match="cannot be checked"):
        packaged_folder("tiny")


def test_an_archive_may_not_leave_its_folder(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("top/../../out.txt", "x")
    (tmp_path / "made").mkdir()
    with pytest.raises(TeacherError, match="leaves its folder"):
        packaged_weights._write_zip([packed.getvalue()], tmp_path / "made")
    assert not (tmp_path / "out.txt").exists()
