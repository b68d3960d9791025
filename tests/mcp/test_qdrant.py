"""The same tools over an index on a Qdrant server."""

import pytest

import unbraid
from unbraid.index.store import qdrant_store
from unbraid.mcp import SharedIndex

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


def test_every_tool_works_on_a_server(
    tmp_path, monkeypatch, local_server, closed_index, starter, call_over, call
):
    monkeypatch.setattr(qdrant_store, "connect", lambda url: local_server(tmp_path / "server"))
    with (
        unbraid.open_index(closed_index, read_only=True) as source,
        unbraid.open_index(qdrant="http://server:6333") as target,
    ):
        source.copy_to(target)
    shared = SharedIndex(
        lambda: unbraid.open_index(qdrant="http://server:6333", model=starter, read_only=True)
    )
    there = call_over(shared)
    asked = {"query": "rotate_keys vault", "paths": ["src"]}
    assert there("search", **asked).paths == call("search", **asked).paths
    related = {"path": "docs/bread.md", "k": 3}
    assert there("find_related", **related).paths == call("find_related", **related).paths
    assert there("read_hit", path="src/vault.py:4-7").text == call("read_hit", path="src/vault.py:4-7").text
    assert there("status").structure["files"] == 10
    shared.close()
