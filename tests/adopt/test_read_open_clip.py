"""open_clip folders, made small with random weights as its hub lays them out."""

import html
import json

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid.adopt.clip_tokenizer import open_clip_tokenizer
from unbraid.adopt.read_open_clip import read_open_clip
from unbraid.errors import AdoptError
from unbraid.export.onnx_graphs import export_image, export_unfused
from unbraid.runtime.onnx_session import open_graph, run_graph
from unbraid.runtime.text_tokenizer import TextTokenizer

VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
# Everything besides the plain CLIP of OpenAI that a config may ask for and a bundle can hold.
CONFIGS = {
    "clip": {},
    "quick gelu": {"quick_gelu": True},
    "custom text": {"custom_text": True},
    "resnet": {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}},
    "timm": {"vision_cfg": {"image_size": 96, "timm_model_name": "test_efficientnet", "timm_pool": "avg"}},
    "padding counts": {
        "custom_text": True,
        "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "first token": {"custom_text": True, "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "first"}},
    "end token": {"custom_text": True, "text_cfg": TEXT | {"pool_type": "eos", "eos_id": 49407}},
    "own attention": {
        "custom_text": True,
        "vision_cfg": VISION | {"qk_norm": True, "attentional_pool": True, "attn_pooler_heads": 2},
        "text_cfg": TEXT | {"qk_norm": True},
    },
}
TEXTS = [
    "a photo of a cat",
    "",
    "It's DON'T",
    "word " * 100,
    "<end_of_text> cat",
    "ΟΔΟΣ 中文 🙂",
    "a &amp; b",
]
PICTURES = [
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (40 + n, 50, 3), dtype=np.uint8))
    for n in range(3)
]


def write(folder, config, preprocess=None):
    from open_clip import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    about = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT} | config
    arguments = {key: value for key, value in about.items() if key != "custom_text"}
    torch.manual_seed(0)
    model = (CustomTextCLIP if "custom_text" in about else CLIP)(**arguments)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.1)
    folder.mkdir(exist_ok=True)
    save_file(
        {key: one.contiguous() for key, one in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": about, "preprocess_cfg": preprocess or {}})
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("clip"), {}, {"resize_mode": "longest", "interpolation": "bilinear"})


def encode(graph, tokenizer, texts):
    """Vectors as the runtime gives them: padded as far as the longest needs, with a mask."""
    ids, _ = tokenizer.tokenize(texts, split=False)
    width = max(map(len, ids))
    rows = np.array([one + [0] * (width - len(one)) for one in ids])
    masks = np.array([[1] * len(one) + [0] * (width - len(one)) for one in ids])
    return run_graph(graph, "base_vector", {"input_ids": rows, "attention_mask": masks})


@pytest.mark.parametrize("name", CONFIGS)
def test_graphs_give_the_vectors_of_open_clip(name, tmp_path):
    model = read_open_clip(write(tmp_path, CONFIGS[name]))
    export_unfused(
        model.text.encoder, torch.zeros((2, 8), dtype=torch.long), "input_ids", tmp_path / "text.onnx"
    )
    model.text.tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokenizer = TextTokenizer(tmp_path / "tokenizer.json", model.text.max_tokens)
    graph = open_graph(tmp_path / "text.onnx")
    expected = model.text.original(TEXTS, None)
    np.testing.assert_allclose(encode(graph, tokenizer, TEXTS), expected, atol=1e-5)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(encode(graph, tokenizer, [text])[0], expected[row], atol=1e-5)
    export_image(model.image.encoder, tmp_path / "image.onnx", model.image.preprocess.size)
    pixels = np.stack([model.image.preprocess(one) for one in PICTURES])
    found = run_graph(open_graph(tmp_path / "image.onnx"), "base_vector", {"pixel_values": pixels})
    np.testing.assert_allclose(found, model.image.original(PICTURES), atol=1e-5)


def test_a_prompt_stands_before_the_text(folder):
    original = read_open_clip(folder).text.original
    np.testing.assert_array_equal(original(["cat"], "a photo of a "), original(["a photo of a cat"], None))


def test_pixels_follow_the_config(folder):
    preprocess = read_open_clip(folder).image.preprocess
    assert (preprocess.size, preprocess.method, preprocess.interpolation) == (32, "pad", "bilinear")


# -- its tokenizer as a file ---------------------------------------------------------------------------------


def tokens(original, text):
    """Ids without the padding, which is 0 behind the last end of text."""
    row = original([text])[0].tolist()
    return row[: len(row) - next(n for n, one in enumerate(reversed(row)) if one)]


@pytest.fixture(scope="module")
def ids_of(tmp_path_factory):
    """`ids_of(clean, text)`: the ids of our file and of open_clip's own tokenizer."""
    import open_clip

    made = {
        clean: open_clip.SimpleTokenizer(clean=clean) for clean in ("lower", "whitespace", "canonicalize")
    }
    files = {clean: open_clip_tokenizer(one, tmp_path_factory.mktemp("x"))[0] for clean, one in made.items()}
    return lambda clean, text: (files[clean].encode(text).ids, tokens(made[clean], text))


text = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters="Σ"), max_size=60)
english = st.text("abcXYZ '\"’‘“”_-.,;<>&%0123456789 \t\n\x1b[3mﬁＡ１ｶﾞ\u0301éςσ\x85\xa0\ufeff", max_size=60)


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
@settings(max_examples=150)
@given(text=text | english)
@example(text="ΟΔΟΣ ΣΑΣ Σ A\u030bΣ ΟΔΟΣ'Σ ΣΑ.Σ")
@example(text="Ａｂｃ　ｶﾞ １２ ﬁne ﬅ ŉ cafe\u0301")
@example(text="“quoted” ‘x’ ʼn \x1b[31mred\x1b[0m a\x85b \x80 \x93")
@example(text="AT&amp;T &lt;b&gt; &amp;amp;lt; it&#39;s &quot;x&quot;&nbsp;y")
@example(text="<start_of_text> hi <END_OF_TEXT> x")
@example(text="word " * 100)
def test_ids_are_those_of_open_clip(ids_of, clean, text):
    import ftfy

    # What looks at more than a character is left out: docs/adopt.md says so.
    assume(ftfy.fix_text(text) == ftfy.fix_text(text, fix_encoding=False))
    known = html.unescape(text.replace("&amp;", "&")) if "&" in text else text
    assume("&" not in text or "amp" in text or known == text)
    ours, own = ids_of(clean, text)
    assert ours == own


def test_a_tokenizer_of_transformers_is_cleaned_as_open_clip_does(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", "a", "red", "house", "dont"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tmp_path)
    text_config = TEXT | {
        "context_length": 8,
        "vocab_size": 7,
        "hf_tokenizer_name": "org/name",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "pool_type": "last",
    }
    model = read_open_clip(write(tmp_path, {"custom_text": True, "text_cfg": text_config}))
    assert model.text.tokenizer.encode("A RED_house: don't!").ids == [3, 4, 5, 6, 1]
    export_unfused(
        model.text.encoder, torch.zeros((2, 8), dtype=torch.long), "input_ids", tmp_path / "text.onnx"
    )
    model.text.tokenizer.save(str(tmp_path / "ours.json"))
    texts = ["A RED_house: don't!", "a", "", "red " * 20]
    found = encode(open_graph(tmp_path / "text.onnx"), TextTokenizer(tmp_path / "ours.json", 8), texts)
    np.testing.assert_allclose(found, model.text.original(texts, None), atol=1e-5)


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"multimodal_cfg": {"width": 32}}, "multimodal_cfg"),
        ({"text_cfg": {"hf_model_name": "org/name"}}, "hf_model_name"),
        ({"text_cfg": TEXT | {"embed_cls": True}}, "embed_cls"),
        ({"vision_cfg": VISION | {"layers": 2}}, "visual.transformer"),
        ({"vision_cfg": VISION | {"new_option": 2}}, "new_option"),
        ({"text_cfg": TEXT | {"tokenizer_kwargs": {"reduction_mask": "simple"}}}, "reduction_mask"),
        ({"vision_cfg": None}, "open_clip_config.json"),
        (
            {"text_cfg": TEXT | {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}},
            "open_clip_config.json: tokenizer_kwargs has trust_remote_code.*remove it; known are .*clean",
        ),
        ({"text_cfg": TEXT | {"tokenizer_kwargs": {"bpe_path": "/x"}}}, "tokenizer_kwargs has bpe_path"),
        ({"text_cfg": TEXT | {"tokenizer_kwargs": "clean"}}, "tokenizer_kwargs is a str"),
    ],
)
def test_what_a_bundle_cannot_hold_is_refused_by_name(config, named, folder, tmp_path):
    about = json.loads((folder / "open_clip_config.json").read_text())
    about["model_cfg"] |= config
    (tmp_path / "open_clip_config.json").write_text(json.dumps(about))
    (tmp_path / "open_clip_model.safetensors").symlink_to(folder / "open_clip_model.safetensors")
    with pytest.raises(AdoptError, match=named):
        read_open_clip(tmp_path)


def test_pickled_weights_are_not_read(folder, tmp_path):
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(AdoptError, match="open_clip_model.safetensors"):
        read_open_clip(tmp_path)


def test_a_tower_too_large_for_a_graph_is_refused_before_it_is_loaded(folder, monkeypatch):
    monkeypatch.setattr("unbraid.adopt.read_open_clip.LARGEST", 1000)
    monkeypatch.setattr("open_clip.create_model", None)
    with pytest.raises(AdoptError, match="image tower"):
        read_open_clip(folder)


def test_broken_weights_are_named(folder, tmp_path):
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"broken")
    with pytest.raises(AdoptError, match="open_clip_model.safetensors"):
        read_open_clip(tmp_path)


def test_pictures_that_are_not_square_are_refused(tmp_path):
    with pytest.raises(AdoptError, match="not square"):
        read_open_clip(write(tmp_path, {"vision_cfg": VISION | {"image_size": [32, 48]}}))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_tokenizer_of_the_models_own_code_is_refused_without_a_question(
    name, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    about = json.loads((folder / "open_clip_config.json").read_text())
    about["model_cfg"]["text_cfg"] = TEXT | {"hf_tokenizer_name": "org/name"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(about))
    (tmp_path / "open_clip_model.safetensors").symlink_to(folder / "open_clip_model.safetensors")
    own = {"AutoTokenizer": ["own.Own", None], "AutoConfig": "own.Config"}
    (tmp_path / name).write_text(json.dumps({"auto_map": own, "model_type": "own"}))
    (tmp_path / "own.py").write_text("raise SystemExit")
    with pytest.raises(AdoptError, match=f"/{name}: its auto_map"):
        read_open_clip(tmp_path)


def test_deep_json_is_refused_by_name(tmp_path):
    (tmp_path / "open_clip_config.json").write_text("[" * 200_000)
    with pytest.raises(AdoptError, match="open_clip_config.json: not valid JSON"):
        read_open_clip(tmp_path)


@pytest.mark.parametrize(
    "steps", [{"mode": "L"}, {"resize_mode": "other"}, {"mean": [0.5]}, {"fill_color": "x"}]
)
def test_other_pixels_are_refused_by_name(steps, tmp_path):
    with pytest.raises(AdoptError, match="open_clip_config.json: preprocess_cfg"):
        read_open_clip(write(tmp_path, {}, steps))


def test_pictures_that_are_too_large_are_refused_by_name(tmp_path):
    vision = CONFIGS["timm"]["vision_cfg"] | {"image_size": 20000}
    with pytest.raises(AdoptError, match="open_clip_config.json: .*size is 20000"):
        read_open_clip(write(tmp_path, {"vision_cfg": vision}))
