"""A tier with a prefix reads every text and code behind it, wherever texts are encoded, counted or cut."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unbraid
from unbraid.bundle import MANIFEST, manifest_hash
from unbraid.errors import BundleError
from unbraid.index.files.chunk import limit_of
from unbraid.index.files.read import read_chunks
from unbraid.items import Code
from unbraid.serve import BundleEngine
from unbraid.serve.engine.engine import RequestItem

DOCUMENT, QUERY = "the red house: ", "search "
WORDS = "cat dog river moonLight vector returnSelf"
TEXTS = st.text("abc \n.AB\u00e9\ud800", max_size=60) | st.sampled_from(["", "cat " * 50, "x" * 2000])


def with_prefixes(folder, small, query_tier):
    """The bundle in `folder`, its tier small behind one prefix, and nano, which encodes its queries, behind another."""
    about = json.loads((folder / MANIFEST).read_text())
    about["query_tier"] = "nano"
    for prefix, specs in ((small, about["modalities"]), (query_tier, about["tiers"]["nano"])):
        for kind in ("text", "code"):
            specs[kind]["reading"] = {"tokenizer": specs[kind].pop("tokenizer"), "prefix": prefix}
    about["sha256"] = manifest_hash(about)
    (folder / MANIFEST).write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def prompted(bundle_folder, tmp_path_factory):
    import shutil

    folder = shutil.copytree(bundle_folder, tmp_path_factory.mktemp("prefix") / "bundle")
    return unbraid.load(with_prefixes(folder, DOCUMENT, QUERY), threads=1, precision="fp32")


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from([("small", DOCUMENT), ("nano", QUERY)]))
def test_a_text_is_encoded_as_prefix_and_text_together_are_without_one(prompted, exact, texts, tier):
    name, prefix = tier
    found = prompted.encode(texts, tier=name, on_truncate="ignore")
    expected = exact.encode([prefix + text for text in texts], tier=name, on_truncate="ignore")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_code_is_split_and_its_prefix_is_not(bundle_copy, exact):
    model = unbraid.load(with_prefixes(bundle_copy, "catDog: ", ""), threads=1, precision="fp32")
    found = model.tokenize(["returnSelf"], "code")
    assert found == exact.tokenize(["catDog: return Self"], "text")


def test_queries_and_documents_have_the_prefix_of_their_tier(prompted, exact):
    texts = ["the cat", "a river"]
    queries = exact.encode([QUERY + text for text in texts], tier="nano")
    np.testing.assert_allclose(prompted.encode(texts, side="query"), queries, atol=1e-6)
    documents = exact.encode([DOCUMENT + text for text in texts], task="document", tier="small")
    np.testing.assert_allclose(prompted.encode(texts, task="document"), documents, atol=1e-6)


def test_a_prefix_takes_its_tokens_from_the_room_for_a_text(prompted, exact):
    assert prompted.max_tokens == exact.max_tokens - 4  # the red house :
    texts = ["cat " * prompted.max_tokens, "cat " * (prompted.max_tokens + 1)]
    assert prompted.tokenize(texts)[1] == [1]
    assert prompted.count_tokens(texts) == exact.count_tokens(texts)


def test_no_chunk_of_an_index_is_cut_and_each_stands_behind_the_prefix(prompted, exact, tmp_path):
    (tmp_path / "a.md").write_text(
        "\n\n".join(f"# The {word}\n" + f"{word} and the " * 30 for word in WORDS.split())
    )
    with unbraid.open_index(
        tmp_path / "ix", model=prompted
    ) as index:  # a cut text warns, and a warning is an error
        index.add([tmp_path / "a.md"], progress=False)
        entries = index.entries(tmp_path / "a.md")
        assert len(entries) > 6
        text = read_chunks((tmp_path / "a.md").read_bytes(), ".md", limit_of(prompted))[2].encoded
        alike = exact.encode([DOCUMENT + text], tier="small")
        (hit,) = index.search_vectors(alike, mode="symmetric", k=1)[0]
    assert hit.cosine == pytest.approx(1, abs=1e-3)


def test_a_server_reads_texts_and_token_ids_behind_the_prefix(prompted, exact, no_openai_tokens):
    engine = BundleEngine(prompted, workers=1, openai_tokens=no_openai_tokens)
    (ids,), _ = exact.tokenize(["the cat in the house"])
    items = [RequestItem("text", "the cat in the house"), RequestItem("text", ids)]
    ready, cut = engine.read(items, "base", 1000)
    expected = exact.encode([DOCUMENT + "the cat in the house"])[0]
    np.testing.assert_allclose(engine.encode(ready, False), [expected, expected], atol=1e-6)
    assert cut == []


@pytest.fixture
def no_openai_tokens():
    from unbraid.serve.engine.openai_tokens import OpenAITokens

    return OpenAITokens(lambda: pytest.fail("the ids are the model's own"))


@pytest.mark.parametrize("use", ["encode", "count_tokens", "tokenize", "max_tokens"])
def test_a_prefix_that_leaves_no_room_is_refused(bundle_copy, use):
    model = unbraid.load(with_prefixes(bundle_copy, "cat " * 30, ""), threads=1)
    with pytest.raises(BundleError, match=r"prefix 'cat cat .* leaves no room for a text in 24 tokens"):
        getattr(model, use)(["a"]) if use != "max_tokens" else model.max_tokens


@pytest.mark.parametrize("prefix", [3, None, ["a"], "a\ud800"])
def test_a_prefix_that_is_no_text_is_refused(bundle_copy, prefix):
    with pytest.raises(BundleError, match="prefix is .*, expected a text"):
        unbraid.load(with_prefixes(bundle_copy, prefix, ""))


def test_one_graph_and_one_tokenizer_serve_tiers_that_differ_in_their_prefix(bundle_copy):
    about = json.loads((bundle_copy / MANIFEST).read_text())
    about["tiers"]["query"] = {
        kind: {**about["modalities"][kind], "prefix": QUERY} for kind in ("text", "code")
    }
    about["query_tier"] = "query"
    about["sha256"] = manifest_hash(about)
    (bundle_copy / MANIFEST).write_text(json.dumps(about))
    model = unbraid.load(bundle_copy, threads=1)
    query, document = model.encode(["the cat"], side="query"), model.encode(["the cat"])
    assert len({id(one.session) for one in model._texts.values()}) == 1 and len(model._tokenizers) == 1
    np.testing.assert_allclose(query, model.encode([f"{QUERY}the cat"]), atol=1e-6)
    assert np.abs(query - document).max() > 1e-3


def test_info_shows_what_is_put_before_a_text(bundle_copy, bundle_folder):
    from unbraid.cli.tiers import prompts_of

    model = unbraid.load(with_prefixes(bundle_copy, DOCUMENT, ""))
    assert prompts_of(model.bundle) == {"prompts": 'small "the red house: "'}
    assert prompts_of(unbraid.load(bundle_folder).bundle) == {}


def test_code_is_encoded_as_code(prompted):
    assert prompted.tokenize(["catDog"], "code") == prompted.tokenize(["cat Dog"], "text")
    assert prompted.encode([Code("catDog")]).shape == (1, 512)
