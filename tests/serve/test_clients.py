"""What clients other than the official one send, token ids of OpenAI's vocabulary above all."""

import asyncio
import base64
import gc
import importlib.util
import io
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import tiktoken
from PIL import Image

import unbraid
from unbraid.errors import ItemError
from unbraid.serve import BundleEngine, Limits, Settings, TeacherEngine
from unbraid.serve.engine.engine import RequestItem
from unbraid.serve.engine.errors import TextTooLong, VocabularyLoading
from unbraid.serve.engine.openai_tokens import RETRY, OpenAITokens

TEXTS = ["the red house", "a cat \U0001f600 na\u00efve", "def f(x):\n    return x"]
# Every byte, as in OpenAI's vocabularies, then a few words; 300 is not in it.
WORDS = (b"the", b" red", b" house", b" " * 40)
TINY = tiktoken.Encoding(
    "tiny",
    pat_str=r"\s?\S+|\s+",
    mergeable_ranks={
        **{bytes([one]): one for one in range(256)},
        **{word: 256 + n for n, word in enumerate(WORDS)},
    },
    special_tokens={"<|endoftext|>": 290},
)


def ids_of(text):
    return list(text.encode())  # TINY's ids of single bytes are the bytes


def loaded(load=lambda: TINY):
    ids = OpenAITokens(load)
    asyncio.run(ids.ready())
    return ids


# -- the vocabulary ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*TEXTS, " \n", "\ufffd", "\u4e2d\u6587"])
def test_ids_are_read_back_into_their_text(text):
    assert loaded().text(ids_of(text)) == text
    assert loaded().text([256, 257, 258]) == "the red house"


def test_halves_of_characters_at_the_ends_are_left_out():
    ids = ids_of("\U0001f600cat\U0001f600")
    assert [loaded().text(ids[first:last]) for first, last in ((1, None), (3, -1), (0, -3))] == [
        "cat\U0001f600",
        "cat",
        "\U0001f600cat",
    ]
    assert loaded().text(ids[2:4]) == loaded().text(ids[-4:-2]) == "\ufffd"  # nothing but a half


@pytest.mark.parametrize("ids", [[300], [259, 2**31 - 1], [2**40], [97, 0xC3, 97], [0xFF], [0x80] * 4])
def test_ids_that_are_no_text_are_refused(ids):
    with pytest.raises(ItemError, match="check_embedding_ctx_length=False"):
        loaded().text(ids)


@pytest.mark.parametrize(
    ("error", "what_to_do"),
    [
        (ModuleNotFoundError("no", name="tiktoken"), "pip install tiktoken"),
        (OSError("no route to host"), "TIKTOKEN_CACHE_DIR"),
    ],
)
def test_a_vocabulary_that_cannot_be_had_is_a_refusal_that_says_what_to_do(error, what_to_do):
    def fail():
        raise error

    with pytest.raises(ItemError, match=what_to_do):
        loaded(fail).text([97])


def test_a_vocabulary_is_loaded_once_and_not_before_it_is_needed():
    loads = []
    ids = OpenAITokens(lambda: loads.append(threading.current_thread()) or TINY)
    assert not loads

    async def together():
        await asyncio.gather(*(ids.ready() for _ in range(20)))

    asyncio.run(together())
    assert ids.text([97]) == "a" and len(loads) == 1 and loads[0] is not threading.current_thread()


def test_a_download_that_hangs_holds_requests_up_for_a_while_only(monkeypatch):
    clock, release = [1000.0], threading.Event()
    monkeypatch.setattr("unbraid.serve.engine.openai_tokens.monotonic", lambda: clock[0])
    monkeypatch.setattr("unbraid.serve.engine.openai_tokens.PATIENCE", 0.05)
    ids = OpenAITokens(lambda: release.wait() and TINY)
    asyncio.run(ids.ready())  # returns, though nothing is loaded
    with pytest.raises(VocabularyLoading):
        ids.text([97])
    clock[0] += 1
    with pytest.raises(ItemError, match="TIKTOKEN_CACHE_DIR"):
        ids.text([97])
    release.set()
    ids._loading.result(10)
    assert ids.text([97]) == "a"


def test_a_failed_download_is_tried_again_after_a_while(monkeypatch):
    clock, answers = [1000.0], [OSError("no route to host"), None]
    monkeypatch.setattr("unbraid.serve.engine.openai_tokens.monotonic", lambda: clock[0])

    def load():
        if error := answers.pop(0):
            raise error
        return TINY

    ids = OpenAITokens(load)
    asyncio.run(ids.ready())
    clock[0] += RETRY - 1
    with pytest.raises(ItemError):
        ids.text([97])
    clock[0] += 2
    asyncio.run(ids.ready())
    assert ids.text([97]) == "a"


# -- the server ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedder(bundle_folder):
    return unbraid.load(bundle_folder, threads=1)


@pytest.fixture
def engine(embedder):
    return BundleEngine(embedder, workers=1, openai_tokens=loaded())


def entry_ids(engine, *contents, **fields):
    given = [RequestItem(fields.get("kind", "text"), content) for content in contents]
    return [entry.content for entry in engine.read(given, "base", 1000)[0]]


def test_a_bundle_tells_its_own_ids_from_openais(engine, embedder):
    own, _ = embedder.tokenize(TEXTS)
    assert entry_ids(engine, *own) == own
    assert entry_ids(engine, *map(ids_of, TEXTS)) == own
    assert entry_ids(engine, own[0], ids_of(TEXTS[1]), TEXTS[2]) == own


def test_its_own_ids_are_refused_when_too_long_or_not_in_its_tokenizer(engine, embedder):
    first, *_, last = embedder.tokenize(["a"])[0][0]
    for ids in ([first, *[7] * 100, last], [first, 5000, last]):
        with pytest.raises(ItemError, match="item 0: "):
            entry_ids(engine, ids)


def test_special_tokens_of_the_starter_are_no_text_of_openais_vocabulary():
    # 101 and 102 in cl100k_base, as tiktoken numbers the bytes: printable ones first, then the rest.
    printable = [one for one in range(256) if chr(one).isprintable() and chr(one) != " "]
    assert {one & 0xC0 for one in printable[101:103]} == {0x80}  # both continue a character that has begun


def test_openais_ids_are_code_where_plain_strings_are(engine, embedder):
    (found,) = entry_ids(engine, ids_of("returnSelf"), kind="code")
    assert [found] == embedder.tokenize(["returnSelf"], "code")[0]


def test_characters_are_counted_after_decoding(engine):
    with pytest.raises(TextTooLong, match="item 1 has 120"):
        engine.read([RequestItem("text", "a cat"), RequestItem("text", [259] * 3)], "base", 100)


@pytest.fixture(scope="module")
def url(serving, embedder):
    """The base URL of a server, as clients are given it."""
    openai_tokens = OpenAITokens(lambda: time.sleep(0.1) or TINY)
    settings = Settings(limits=Limits(tokens=5000))
    with serving(BundleEngine(embedder, workers=1, openai_tokens=openai_tokens), settings) as http:
        yield f"{http.url}/v1"


def test_the_first_request_with_openais_ids_waits_for_their_vocabulary(url, embedder):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model=embedder.bundle.name, input=list(map(ids_of, TEXTS)))
    np.testing.assert_allclose([one.embedding for one in answer.data], embedder.encode(TEXTS), atol=1e-6)
    assert answer.usage.total_tokens == sum(map(len, embedder.tokenize(TEXTS)[0]))


def test_ids_over_the_limit_of_a_request_are_refused_before_they_are_decoded(url):
    answer = httpx.post(f"{url}/embeddings", json={"input": [[97] * 200] * 26})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_many_tokens")
    assert httpx.post(f"{url}/embeddings", json={"input": [[97] * 200] * 25}).status_code == 200


@pytest.mark.parametrize(("kind", "before"), [("url", "data:image/png;base64,"), ("bytes", "")])
def test_pictures_have_the_names_of_jinas_older_clients_too(url, kind, before):
    content = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(content, "PNG")
    picture = before + base64.b64encode(content.getvalue()).decode()
    found, expected = (
        httpx.post(f"{url}/embeddings", json={"input": [{name: picture}]}).json() for name in (kind, "image")
    )
    assert found["data"] == expected["data"]


def test_bits_are_asked_for_under_llamaindexs_name_too(url):
    answer = httpx.post(f"{url}/embeddings", json={"input": "a cat", "encoding_type": "ubinary"})
    assert len(answer.json()["data"][0]["embedding"]) == 64


def test_a_teacher_reads_all_ids_as_openais(tiny_v4):
    from unbraid.teacher import load

    engine = TeacherEngine(load(tiny_v4, device="cpu"), loaded())
    entries, _ = engine.read(
        [RequestItem("text", ids_of("a cat")), RequestItem("code", ids_of("def f"))], "query", 100
    )
    assert [entry.content for entry in entries] == ["a cat", unbraid.Code("def f")]


# -- the clients themselves ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cl100k_url(serving, embedder):
    """A server as `unbraid serve` starts it, which finds the real vocabulary; so do clients in this process."""
    core = importlib.util.find_spec("llama_index.core")  # brings a copy of tiktoken's file of cl100k_base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(Path(core.origin).parent / "_static" / "tiktoken_cache"))
        settings = Settings(aliases=("text-embedding-3-small",))
        with serving(BundleEngine(embedder, workers=1), settings) as http:
            yield f"{http.url}/v1"


@pytest.fixture
def left_open():
    """These clients close no connection; here their sockets go while the test's filter of warnings holds."""
    yield
    gc.collect()


def same(found, texts, embedder, **options):
    np.testing.assert_allclose(found, embedder.encode(texts, on_truncate="ignore", **options), atol=1e-5)


def client_test(test):
    """Warnings of a client and of what it depends on are not ours."""
    return pytest.mark.filterwarnings("ignore")(pytest.mark.usefixtures("left_open")(test))


@client_test
@pytest.mark.parametrize("model", ["starter", "text-embedding-3-small"])
def test_langchain_needs_nothing_but_the_base_url(cl100k_url, embedder, model):
    from langchain_openai import OpenAIEmbeddings

    client = OpenAIEmbeddings(base_url=cl100k_url, api_key="none", model=model, max_retries=0)
    same(client.embed_documents(TEXTS), TEXTS, embedder)
    same([client.embed_query(TEXTS[1])], TEXTS[1:2], embedder)
    assert len(client.embed_documents([" \n", "\ufffd"])) == 2

    async def later():
        other = OpenAIEmbeddings(base_url=cl100k_url, api_key="none", model=f"{model}:query")
        return [await other.aembed_query(TEXTS[0]), *await other.aembed_documents(TEXTS[1:])]

    same(asyncio.run(later()), TEXTS, embedder, task="query")


@client_test
def test_langchain_cuts_a_long_text_within_characters_and_averages(cl100k_url):
    from langchain_openai import OpenAIEmbeddings

    client = OpenAIEmbeddings(
        base_url=cl100k_url, api_key="none", model="starter", embedding_ctx_length=7, dimensions=128
    )
    found = np.array(client.embed_documents(["\U0001f9be\U0001fae0na\u00efve " * 40, "a cat"]))
    assert found.shape == (2, 128)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@client_test
def test_llamaindex_needs_nothing_but_the_base_url(cl100k_url, embedder):
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    client = OpenAILikeEmbedding(model_name="starter", api_base=cl100k_url, api_key="none", max_retries=0)
    texts = TEXTS[:2] * 20  # it sends ten at a time
    same(client.get_text_embedding_batch(texts), texts, embedder)
    same([client.get_query_embedding(TEXTS[0])], TEXTS[:1], embedder)
    small = OpenAILikeEmbedding(
        model_name="starter:document", api_base=cl100k_url, api_key="none", dimensions=64
    )
    same(asyncio.run(small.aget_text_embedding_batch(texts)), texts, embedder, task="document", dim=64)


@client_test
def test_llamaindex_takes_openais_model_names_or_any_as_model_name(cl100k_url, embedder):
    from llama_index.embeddings.openai import OpenAIEmbedding

    for name in ({"model": "text-embedding-3-small"}, {"model_name": "starter"}):
        client = OpenAIEmbedding(api_base=cl100k_url, api_key="none", max_retries=0, **name)
        same(client.get_text_embedding_batch(TEXTS[:2]), TEXTS[:2], embedder)
