import dataclasses
import json
import random
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.bundle import Bundle, read_bundle
from unbraid.errors import BundleError, ItemError
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.onnx_session import open_graph, pick_graph
from unbraid.runtime.text import TextRuntime

MAX_TOKENS = 24
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=80)  # lone surrogates among it
# fp32 kernels add up in an order that depends on the shape; a real change of one token moves a vector by 1e-2.
FP32 = 1e-5
WORDS = "the a of and to in is was cat dog house river red green bright moon".split()


@pytest.fixture(scope="module")
def bundle(bundle_folder) -> Bundle:
    return read_bundle(bundle_folder)


@pytest.fixture(scope="module")
def text(bundle) -> TextRuntime:
    return TextRuntime(bundle.folder, bundle.text["text"], "fp32")


@pytest.fixture(scope="module")
def code(bundle) -> TextRuntime:
    return TextRuntime(bundle.folder, bundle.text["code"], "fp32")


def sentences(count: int) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(count)]


# -- tokenize ----------------------------------------------------------------------------------------------


def test_ids_are_framed_by_the_special_tokens(text):
    ids, _ = text.tokenize(["the cat"])
    the, cat = text.tokenizer.token_to_id("the"), text.tokenizer.token_to_id("cat")
    assert ids == [[2, the, cat, 3]]


def test_every_text_keeps_its_own_length(text):
    ids, _ = text.tokenize(["the", "the cat", ""])
    assert [len(one) for one in ids] == [3, 4, 2]


@pytest.mark.parametrize(("words", "cut"), [(1, []), (MAX_TOKENS - 2, []), (MAX_TOKENS - 1, [0]), (500, [0])])
def test_only_texts_over_the_limit_are_reported_as_cut(text, words, cut):
    ids, found = text.tokenize(["cat " * words])
    assert found == cut
    assert len(ids[0]) == min(words + 2, MAX_TOKENS)


def test_cut_texts_are_reported_by_position(text):
    assert text.tokenize(["cat", "dog " * 99, "", "river " * 99])[1] == [1, 3]


def test_a_lone_surrogate_reads_as_the_replacement_character(text):
    assert text.tokenize(["a\ud800b \udfff"])[0] == text.tokenize(["a\ufffdb \ufffd"])[0]


def test_two_surrogates_that_belong_together_are_one_character(text):
    assert text.tokenize(["\ud83d\ude00"]) == text.tokenize(["😀"])


@settings(max_examples=100, deadline=None)
@given(ANY_TEXT)
def test_any_text_has_token_ids(text, item):
    (ids,), _ = text.tokenize([item])
    assert len(ids) >= 2


def test_code_is_read_with_its_names_split(text, code):
    assert code.tokenize(["returnModel(catDog)"])[0] == text.tokenize(["return Model(cat Dog)"])[0]


def test_text_is_read_as_it_is(text):
    unknown = text.tokenizer.token_to_id("[UNK]")
    assert text.tokenize(["catDog"])[0] != text.tokenize(["cat Dog"])[0]
    assert unknown not in text.tokenize(["catDog"])[0][0]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("getUserName", "get User Name"),
        ("HTTPServer", "HTTP Server"),
        ("parseHTTPResponse2Json", "parse HTTP Response2 Json"),
        ("snake_case_name", "snake_case_name"),
        ("CONSTANT", "CONSTANT"),
        ("x = aB", "x = a B"),
        ("already split", "already split"),
        ("ÄrgerÜber", "ÄrgerÜber"),  # ASCII humps only
        ("", ""),
    ],
)
def test_identifiers_are_split_at_their_humps(written, read):
    assert split_identifiers(written) == read


@given(ANY_TEXT)
def test_splitting_identifiers_only_adds_spaces(item):
    assert split_identifiers(item).replace(" ", "") == item.replace(" ", "")


# -- encode ------------------------------------------------------------------------------------------------


def test_vectors_come_back_in_the_order_of_the_texts(text):
    ids, _ = text.tokenize(sentences(60))
    together = text.encode(ids, threads=1, progress=False)
    assert (
        sum(map(len, ids)) > text.spec.batch_tokens
    )  # else there is one batch and nothing to put back in order
    alone = np.concatenate([text.encode([one], threads=1, progress=False) for one in ids])
    np.testing.assert_allclose(together, alone, atol=FP32)


def test_padding_does_not_change_a_vector(text):
    ids, _ = text.tokenize(["cat", "the house and the river and the moon"])
    np.testing.assert_allclose(
        text.encode(ids, threads=1, progress=False)[0],
        text.encode(ids[:1], threads=1, progress=False)[0],
        atol=FP32,
    )


def test_one_thread_and_four_give_the_same_vectors(text):
    ids, _ = text.tokenize(sentences(60))
    np.testing.assert_array_equal(
        text.encode(ids, threads=1, progress=False), text.encode(ids, threads=4, progress=False)
    )


def test_a_vector_is_what_torch_computes(text, tiny):
    import torch

    from unbraid.base_encoders.text_encoder import load_text_encoder

    encoder = load_text_encoder(tiny.run / "small").eval()
    ids, _ = text.tokenize(sentences(5))
    with torch.inference_mode():
        expected = [encoder(torch.tensor([one]), torch.ones(1, len(one), dtype=torch.long)) for one in ids]
    # The limit of the export's parity check; 1e-7 is usual.
    np.testing.assert_allclose(text.encode(ids, threads=1, progress=False), torch.cat(expected), atol=1e-4)


def test_a_bar_is_drawn_on_standard_error_when_asked_for(text, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes standard error for a terminal
    ids, _ = text.tokenize(sentences(3))
    text.encode(ids, threads=1, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "encode text" in err


def test_nothing_is_drawn_where_nobody_watches(text, capsys):
    ids, _ = text.tokenize(sentences(3))
    text.encode(ids, threads=1, progress=None)
    assert capsys.readouterr() == ("", "")


# -- opening -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "file"), [(None, "a"), ("int8", "a"), ("fp32", "b"), ("unheard of", "a")]
)
def test_the_asked_precision_is_picked_or_the_default(precision, file):
    assert pick_graph({"int8": "a", "fp32": "b"}, precision) == file


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"not a graph", b"\x08\x07" * 500])
def test_a_file_that_is_no_graph_is_refused_by_name(tmp_path, content):
    (tmp_path / "some.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"some\.onnx: onnxruntime .* cannot open it"):
        open_graph(tmp_path / "some.onnx")


def test_a_missing_graph_is_refused_by_name(tmp_path):
    with pytest.raises(BundleError, match=r"none\.onnx"):
        open_graph(tmp_path / "none.onnx")


@pytest.fixture
def text_folder(bundle, tmp_path):
    """The text graph and its tokenizer alone."""
    for name in ("text.fp32.onnx", "tokenizer.json"):
        shutil.copy(bundle.folder / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1, 2]",
        b"null",
        b"\xff\xfe\0",
        b'{"version": "1.0", "model": {"type": "Unheard", "vocab": {}}}',
        b'{"version": "1.0", "model": {"type": "WordPiece"}}',
        b'{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]}}',
    ],
)
def test_a_tokenizer_that_is_garbage_is_refused_by_name(bundle, text_folder, content):
    (text_folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer"):
        TextRuntime(text_folder, bundle.text["text"], "fp32")


@pytest.mark.parametrize(
    "part",
    [
        {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": "("},
                "behavior": "Isolated",
                "invert": False,
            }
        },
        # The next two panic in tokenizers 0.23, which is no Exception in Python.
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}},
    ],
    ids=lambda part: next(iter(part)),
)
def test_a_tokenizer_with_one_bad_part_is_refused_by_name(bundle, text_folder, part):
    path = text_folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | part))
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer"):
        TextRuntime(text_folder, bundle.text["text"], "fp32")


def test_the_bundle_decides_how_long_a_text_may_be(bundle, text_folder):
    spec = dataclasses.replace(bundle.text["text"], max_tokens=7)
    ids, cut = TextRuntime(text_folder, spec, "fp32").tokenize(["cat " * 50])
    assert (len(ids[0]), cut) == (7, [0])


def test_padding_that_the_tokenizer_file_asks_for_is_left_out(bundle, text_folder):
    from tokenizers import Tokenizer

    path = str(text_folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.enable_padding(length=20)
    tokenizer.save(path)
    ids, _ = TextRuntime(text_folder, bundle.text["text"], "fp32").tokenize(["cat"])
    assert len(ids[0]) == 3


def test_token_ids_of_a_text_are_known_again_and_give_its_vector(exact):
    ids, _ = exact.tokenize(["the red house"])
    exact.check_tokens(ids[0])
    np.testing.assert_allclose(exact.encode_tokens(ids), exact.encode(["the red house"]), atol=1e-6)


@pytest.mark.parametrize(
    "ids",
    [[], [2], [5, 6, 7], [2, 5, 6], [5, 6, 3], [2, 100_000, 3], [2, -1, 3], [2, *[5] * 30, 3]],
    ids=["none", "half", "bare", "no end", "no start", "beyond", "negative", "long"],
)
def test_token_ids_that_are_not_this_tokenizers_are_refused(exact, ids):
    with pytest.raises(ItemError, match="token ids"):
        exact.check_tokens(ids)
