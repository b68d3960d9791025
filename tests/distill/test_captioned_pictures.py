import gzip
import io
import json
import tarfile

import pytest
from PIL import Image

from unbraid.distill.data.captioned_pictures import members, picture_items
from unbraid.errors import DataError


def png(colour):
    content = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def data(tmp_path):
    """Five pictures: two to train on with equal bytes, one for dev, one without a caption and one without a row."""
    files = {
        "a.png": png("red"),
        "b.png": png("red"),
        "c.png": png("blue"),
        "d.png": png("green"),
        "e.png": b"?",
    }
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    rows = [
        {"file": "a.png", "title": "A red square", "alt": "Something red", "split": "train"},
        {"file": "b.png", "caption": "Again a red square", "split": "train"},
        {"file": "c.png", "caption": "A blue square, kept out", "split": "dev"},
        {"file": "d.png", "caption": "too short", "split": "train"},
    ]
    with gzip.open(tmp_path / "set.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


def test_members_are_the_captioned_pictures(data):
    found = {member.name: (member.captions, member.dev) for member in members(data, "set")}
    assert found == {
        "set.tar/a.png": (("Something red", "A red square"), False),
        "set.tar/b.png": (("Again a red square",), False),
        "set.tar/c.png": (("A blue square, kept out",), True),
    }


def test_training_pictures_become_files_named_by_their_key(data, tmp_path):
    (item,) = picture_items(data, ["set"], tmp_path / "out")  # equal bytes are one item
    assert item.modality == "image"
    assert item.picture is not None and item.picture.read_bytes() == png("red")
    assert item.picture.name == f"{next(members(data, 'set')).key}.png"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [item.picture.name]


def test_files_that_are_there_are_not_written_again(data, tmp_path):
    (item,) = picture_items(data, ["set"], tmp_path / "out")
    before = item.picture.stat().st_mtime_ns
    picture_items(data, ["set"], tmp_path / "out")
    assert item.picture.stat().st_mtime_ns == before


def test_a_missing_tar_is_named(data):
    (data / "set.tar").unlink()
    with pytest.raises(DataError, match=r"set\.tar: cannot be read"):
        list(members(data, "set"))
