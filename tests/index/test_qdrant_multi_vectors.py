"""Multi-vectors of a Qdrant collection: made by the command, compared by the server, as docs/multi-vectors.md shows it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import models

import unbraid
from unbraid.errors import ItemError, StoreError
from unbraid.index.store import qdrant_store
from unbraid.index.store.qdrant_store import TOKENS
from unbraid.index.transfer.multi_vectors import NOTE, add_multi_vectors
from unbraid.multi_vector.maxsim import maxsim

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]
PAGE = Path(__file__).parent.parent.parent / "docs/multi-vectors.md"
URL = "http://host:6333"


@pytest.fixture
def client(monkeypatch, local_server, tmp_path):
    """The client's local mode, in place of every server; it stays open when an index is closed."""
    client = local_server(tmp_path / "server")
    close = client.close
    monkeypatch.setattr(client, "close", lambda: None)
    monkeypatch.setattr(qdrant_store, "connect", lambda url: client)
    yield client
    close()


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "moon.md").write_text("The moon is bright.\n")
    (folder / "dog.md").write_text("A dog in the green house.\n")
    (folder / "cat.py").write_text("def cat(self):\n    return self.house\n")
    return folder


@pytest.fixture
def index(client, notes, embedder):
    with unbraid.open_index(qdrant=URL, collection="notes", model=embedder) as index:
        index.add([notes], progress=False)
        yield index


def stored(client):
    """Multi-vectors by the name of a file; None where it has none."""
    records, _ = client.scroll("notes", limit=100, with_vectors=True)
    return {Path(one.payload["path"]).name: one.vector.get(TOKENS) for one in records}


def test_every_text_and_code_gets_the_token_vectors_of_what_was_encoded(index, client, embedder):
    told = []
    assert add_multi_vectors(index.store, embedder, on_progress=told.append) == 3 == sum(told)
    (expected,) = embedder.encode(["The moon is bright."], multi_vector=True, tier="small")
    np.testing.assert_allclose(stored(client)["moon.md"], expected, atol=1e-6)
    (entry,) = index.entries(next(one for one in index.store.files() if one.endswith("cat.py")))
    (code,) = embedder.encode([unbraid.Code(entry.text)], multi_vector=True, tier="small")
    np.testing.assert_allclose(stored(client)["cat.py"], code, atol=1e-6)


def test_a_second_run_encodes_what_is_new_or_has_changed(index, client, notes, embedder):
    add_multi_vectors(index.store, embedder)
    assert add_multi_vectors(index.store, embedder) == 0
    (notes / "moon.md").write_text("The red moon.\n")
    (notes / "river.md").write_text("A river.\n")
    index.add([notes], progress=False)
    assert stored(client)["moon.md"] is None and stored(client)["dog.md"] is not None
    assert add_multi_vectors(index.store, embedder) == 2
    assert all(one is not None for one in stored(client).values())


def test_a_budget_bounds_the_vectors_of_a_chunk(index, client, embedder):
    add_multi_vectors(index.store, embedder, vectors=2)
    assert {len(one) for one in stored(client).values()} == {2}
    assert add_multi_vectors(index.store, embedder, vectors=2) == 0


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (2, None, r"of --vectors 2, and every token \(no --vectors\) was asked for: say the same"),
        (None, 2, r"of every token \(no --vectors\), and --vectors 2 was asked for"),
        (2, 3, "of --vectors 2, and --vectors 3"),
    ],
)
def test_another_budget_is_refused(index, client, embedder, first, then, says):
    add_multi_vectors(index.store, embedder, vectors=first)
    before = stored(client)
    with pytest.raises(StoreError, match=says):
        add_multi_vectors(index.store, embedder, vectors=then)
    assert stored(client) == before


def test_a_collection_of_an_earlier_version_does_not_say_its_budget(index, client, embedder):
    add_multi_vectors(index.store, embedder)
    note = json.loads(index.store.read_note(NOTE))
    del note["vectors"]
    index.store.write_note(NOTE, json.dumps(note).encode())
    assert add_multi_vectors(index.store, embedder, vectors=2) == 0


def test_base_vectors_and_searches_stay_as_they_are(index, client, embedder):
    def hits():
        return [(hit.path, round(hit.score, 6)) for hit in index.search("the bright moon")]

    before, vectors = hits(), index.store.page(qdrant_store.ANYTHING, None).vectors
    add_multi_vectors(index.store, embedder)
    assert hits() == before
    np.testing.assert_array_equal(index.store.page(qdrant_store.ANYTHING, None).vectors, vectors)


def test_the_multi_vector_is_compared_by_maxsim_and_dot_product(index, client, embedder):
    add_multi_vectors(index.store, embedder)
    about = client.get_collection("notes").config.params.vectors[TOKENS]
    assert (about.size, about.distance) == (8, models.Distance.DOT)
    assert about.multivector_config.comparator == models.MultiVectorComparator.MAX_SIM


def test_the_server_gives_our_score_for_weighted_queries(index, client, embedder):
    add_multi_vectors(index.store, embedder)
    (query,) = embedder.token_vectors(["bright green house"], tier="small")
    query = type(query)(query.vectors, np.linspace(0.2, 3, len(query), dtype=np.float32), query.ids)
    answer = client.query_points("notes", query=query.weighted().tolist(), using=TOKENS, limit=10)
    found = {Path(one.payload["path"]).name: one.score for one in answer.points}
    expected = {name: maxsim(query, [np.array(one, np.float32)])[0] for name, one in stored(client).items()}
    assert found == pytest.approx(expected, abs=1e-5)


def test_another_head_and_a_tier_without_one_are_refused(index, embedder, bundle_folder):
    with pytest.raises(ItemError, match=r"tier nano .* choose --tier \(small\)"):
        add_multi_vectors(index.store, unbraid.load(bundle_folder, tier="nano"))
    index.store.write_note(
        "multi_vectors", b'{"bundle": "other 1", "tier": "base", "multi_vector_id": "abc"}'
    )
    with pytest.raises(StoreError, match="multi-vectors of tier base of other 1"):
        add_multi_vectors(index.store, embedder)


def test_a_damaged_chunk_gets_none(index, client, embedder):
    (point,) = [one for one in client.scroll("notes", limit=9)[0] if one.payload["path"].endswith("moon.md")]
    client.set_payload("notes", {"snippet": "The moon is dark."}, [point.id])
    assert add_multi_vectors(index.store, embedder) == 2
    assert stored(client)["moon.md"] is None


def test_the_recipe_of_the_page_finds_by_late_interaction(index, client, embedder, monkeypatch, capsys):
    add_multi_vectors(index.store, embedder)
    (code,) = re.findall(
        r"^```python\n([^`]*?QdrantClient.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    code = code.replace("monthly rain", "bright moon")
    monkeypatch.setattr(unbraid, "load", lambda tier: embedder)
    monkeypatch.setattr("qdrant_client.QdrantClient", lambda url: client)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})  # noqa: S102
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {Path(path).name for _, path in printed} == {"moon.md", "dog.md", "cat.py"}
    (query,) = embedder.token_vectors(["bright moon"], tier="small")
    best = max(maxsim(query, [np.array(one, np.float32)])[0] for one in stored(client).values())
    assert float(printed[0][0]) == pytest.approx(best, abs=1e-5)
