from types import SimpleNamespace

import pytest

from unbraid import errors


@pytest.mark.parametrize(
    ("mark", "command"),
    [
        (None, "pip install 'unbraid[serve]'"),
        ("pipx_metadata.json", "pipx inject unbraid 'unbraid[serve]'"),
        ("uv-receipt.toml", "uv tool install 'unbraid[serve]'"),
    ],
)
def test_a_missing_extra_is_installed_where_unbraid_is(monkeypatch, tmp_path, mark, command):
    monkeypatch.setattr(errors, "sys", SimpleNamespace(prefix=str(tmp_path)))
    if mark:
        (tmp_path / mark).touch()
    assert (
        str(errors.MissingExtraError("starlette", "serve")) == f"starlette is not installed; run: {command}"
    )


def test_windows_gets_the_quotes_that_both_of_its_shells_know(monkeypatch):
    monkeypatch.setattr(errors, "os", SimpleNamespace(name="nt", path=errors.os.path))
    assert errors.install_command("mcp") == 'pip install "unbraid[mcp]"'
