import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unbraid.cluster.row_items import PICTURES, encode_rows, to_item
from unbraid.errors import ItemError
from unbraid.items import Code

HERE = Path("/corpus")


def picky(items):
    """Vectors [n, 1] of the items' lengths; refuses a batch with a bad item in it, as an embedder does."""
    if bad := [item for item in items if "bad" in item]:
        raise ItemError(f"cannot encode {bad[0]}")
    return np.array([[len(item)] for item in items], dtype=np.float32)


@given(st.lists(st.sampled_from(["a", "bb", "bad", None, "\ud800"]), max_size=20))
def test_each_row_has_its_vector_or_its_own_reason(contents):
    vectors = np.zeros((len(contents), 1), np.float32)
    reasons = encode_rows(contents, "text", HERE, picky, vectors)
    for content, vector, reason in zip(contents, vectors[:, 0], reasons, strict=True):
        if content in ("a", "bb"):
            assert (vector, reason) == (len(content), None)
        else:
            assert vector == 0 and reason is not None
            assert ("bad" in reason) == (content == "bad")


def test_a_batch_without_a_bad_item_is_encoded_at_once():
    calls = []
    encode_rows(
        ["a"] * 100, "text", HERE, lambda items: calls.append(len(items)) or picky(items), np.zeros((100, 1))
    )
    assert calls == [100]


def test_pictures_are_encoded_a_few_at_a_time(tmp_path):
    calls = []
    contents = [f"{number}.png" for number in range(2 * PICTURES + 1)]
    count = len(contents)
    encode_rows(
        contents,
        "image",
        HERE,
        lambda items: calls.append(len(items)) or np.ones((len(items), 1)),
        np.zeros((count, 1)),
    )
    assert calls == [PICTURES, PICTURES, 1]


def test_items_have_the_type_that_says_their_modality():
    assert to_item("x", "text", HERE) == "x"
    assert isinstance(to_item("x", "code", HERE), Code)
    assert to_item("pictures/x.PNG", "image", HERE) == HERE / "pictures/x.PNG"
    content = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(content, "PNG")
    picture = to_item(content.getvalue(), "image", HERE)
    assert isinstance(picture, Image.Image) and picture.size == (4, 3)


@pytest.mark.parametrize(
    ("content", "modality", "says"),
    [
        (None, "code", "there is no code"),
        ("\udcff", "text", "not valid UTF-8"),
        ("/etc/passwd", "image", r"'/etc/passwd' does not end in"),
        (b"GIF89a and then nothing", "image", "picture"),
        (b"", "image", "picture"),
    ],
)
def test_what_cannot_be_an_item_says_why(content, modality, says):
    with pytest.raises(ItemError, match=says):
        to_item(content, modality, HERE)
