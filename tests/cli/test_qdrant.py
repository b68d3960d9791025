import json
from dataclasses import replace
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from unbraid.index.store import qdrant_store
from unbraid.loading import open_index

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]
URL = ("--qdrant", "http://server:6333")


@pytest.fixture
def unbraid(command, monkeypatch, bundle_folder, tmp_path, local_server):
    """Run the command with the tiny bundle; every server is the client's local mode in one folder."""
    asked = []

    def connect(url: str) -> QdrantClient:
        asked.append(url)
        return local_server(tmp_path / "server")

    monkeypatch.setattr(qdrant_store, "connect", connect)

    def run(*words: object, model: bool = False) -> tuple[int, str, str]:
        answer = command(*words, *(("--model", bundle_folder) if model else ()))
        assert set(asked) <= {URL[1]}
        return answer

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "notes"
    place.mkdir()
    (place / "moon.md").write_text("# Moon\n\nThe moon is bright.\n")
    (place / "dog.md").write_text("# Dog\n\nA dog in the house.\n")
    return place


def hits(said: str) -> list[dict]:
    return [json.loads(line) for line in said.splitlines()]


def test_a_server_is_indexed_and_searched_as_a_folder_is(unbraid, folder, tmp_path):
    code, said, _ = unbraid("index", folder, *URL, model=True)
    assert code == 0 and "2 added" in said and "2 in collection unbraid" in said
    unbraid("index", folder, "--into", tmp_path / "ix", model=True)
    query = ("search", "the moon is bright", "--json")
    served, local = (unbraid(*query, *where, model=True)[1] for where in (URL, ("--in", tmp_path / "ix")))
    numbers = ("score", "cosine", "bm25")  # in whose last digits engines differ
    for one, other in zip(hits(served), hits(local), strict=True):
        assert [one.pop(name) for name in numbers] == pytest.approx(
            [other.pop(name) for name in numbers], abs=1e-5
        )
        assert one == other
    assert len(hits(served)) == 2


def test_an_index_goes_up_and_comes_down_again(unbraid, folder, tmp_path):
    unbraid("index", folder, "--into", tmp_path / "ix", "--numbers", "float16", model=True)
    code, said, _ = unbraid("index", "push", tmp_path / "ix", *URL, "--collection", "mine", "--json")
    assert code == 0
    assert json.loads(said) == {"items": 2, "damaged": 0, "total_chunks": 2, "index": "collection mine"}
    code, said, _ = unbraid("index", "pull", tmp_path / "back", *URL, "--collection", "mine")
    assert (code, said) == (0, f"2 chunks copied, 2 in {tmp_path / 'back'}\n")
    with open_index(tmp_path / "ix") as first, open_index(tmp_path / "back") as second:
        one, other = first.store, second.store
        assert one.files() == other.files()
        assert one.meta == replace(other.meta, shard=one.meta.shard)
        for there, back in zip(one.items(), other.items(), strict=True):
            assert sorted(there[0], key=lambda entry: entry.path) == sorted(
                back[0], key=lambda entry: entry.path
            )


def test_pushing_again_replaces_what_changed_and_leaves_the_rest(unbraid, folder, tmp_path):
    for words in ("The moon is bright.", "The river is green."):
        (folder / "moon.md").write_text(words)
        unbraid("index", folder, "--into", tmp_path / "ix", model=True)
        assert unbraid("index", "push", tmp_path / "ix", *URL)[0] == 0
    found = hits(unbraid("search", "the moon is bright", *URL, "--json", model=True)[1])
    assert sorted(one["snippet"] for one in found if "moon.md" in one["path"]) == ["The river is green."]


def test_damaged_items_are_left_out_and_told(unbraid, folder, tmp_path):
    unbraid("index", folder, *URL, model=True)
    client = QdrantClient(path=str(tmp_path / "server"))
    client.set_payload("unbraid", {"snippet": "x"}, points=[client.scroll("unbraid", limit=1)[0][0].id])
    client.close()
    code, said, error = unbraid("index", "pull", tmp_path / "back", *URL)
    assert code == 2 and said.startswith("1 chunks copied") and "1 damaged chunks were left out" in error


def test_files_are_taken_out_of_a_server(unbraid, folder):
    unbraid("index", folder, *URL, model=True)
    (folder / "moon.md").unlink()
    said = unbraid("index", "delete", folder / "moon.md", *URL, "--json")[1]
    assert json.loads(said) == {"files": 1, "total_chunks": 1, "index": "collection unbraid"}
    assert (
        unbraid("index", "delete", folder, *URL)[1] == "1 file removed, 0 chunks left in collection unbraid\n"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("search", "x"), "unbraid index FOLDER"),
        (("search", "x", "--in", "ix", *URL), "give one of --in FOLDER, --index NAME and --qdrant URL"),
        (("search", "x", "--in", "ix", "--collection", "mine"), "--collection goes with --qdrant"),
        (("index", "notes", "--into", "ix", *URL), "give one of --into FOLDER"),
        (("index", "pull", "ix"), "--qdrant"),
        (("index", "delete", "ix"), "give the FOLDER of the index and the PATHs"),
        (("index", "delete", "ix", "a.md", "--collection", "mine"), "--collection goes with --qdrant"),
    ],
)
def test_wrong_use_is_told(unbraid, words, says):
    code, _, error = unbraid(*words)
    assert code == 2 and says in error


def test_a_collection_that_is_not_there_is_told(unbraid, tmp_path):
    code, _, error = unbraid("index", "pull", tmp_path / "back", *URL)
    assert code == 2 and error.startswith("unbraid: no index at collection unbraid at http://server:6333; ")


def test_a_collection_is_given_multi_vectors_once(unbraid, folder):
    unbraid("index", folder, *URL, model=True)
    code, said, _ = unbraid("index", "multi-vectors", *URL, "--vectors", 2, model=True)
    assert (code, said) == (0, "2 chunks have multi-vectors now, in collection unbraid\n")
    again = unbraid("index", "multi-vectors", *URL, "--vectors", 2, "--json", model=True)[1]
    assert json.loads(again) == {"items": 0, "index": "collection unbraid"}


def test_a_tier_without_multi_vectors_is_refused(unbraid, folder):
    unbraid("index", folder, *URL, model=True)
    code, _, said = unbraid("index", "multi-vectors", *URL, "--tier", "nano", model=True)
    assert code == 2 and "choose --tier (small)" in said
