import os

import pytest

from unbraid.io.regular_file import read_regular


def test_a_file_is_read_up_to_one_byte_beyond_the_most(tmp_path):
    (tmp_path / "a").write_bytes(b"123456")
    assert read_regular(tmp_path / "a", 6, follow=False) == b"123456"
    assert read_regular(tmp_path / "a", 3, follow=False) == b"1234"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_and_a_folder_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match=r"no regular file|directory"):
            read_regular(place, 9, follow=True)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="POSIX")
def test_a_link_is_followed_where_that_is_asked_for(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "link", 9, follow=True) == b"1"
    with pytest.raises(OSError, match="link"):
        read_regular(tmp_path / "link", 9, follow=False)
