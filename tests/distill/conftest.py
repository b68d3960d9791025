import os

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_fsync():
    """Writing through to the disk takes up to a second where it is busy, and no test here cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
