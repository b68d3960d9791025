"""CLIPModel and SiglipModel of transformers, made small with random weights in the published layout."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid.adopt.read_clip import _steps, read_clip
from unbraid.errors import AdoptError
from unbraid.export.onnx_graphs import export_image, export_unfused
from unbraid.runtime.onnx_session import open_graph, run_graph
from unbraid.runtime.preprocess import ImagePreprocess

WORDS = "a photo of the cat dog house river red green bright moon"
TEXTS = [
    "a photo of a cat",
    "",
    "the red house, by the river!",
    "MOON",
    "cat " * 100,
    "ΟΔΟΣ",
    "naïve 中文 🙂",
]
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURES = [
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (40 + n, 50, 3), dtype=np.uint8))
    for n in range(3)
]
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def randomized(model):
    torch.manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


def write_clip(folder, eos):
    """`eos` 2 is what configs of before 2023 say: the end is then where the largest id stands."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    letters = [chr(one) for one in range(33, 127)]
    pieces = [
        *letters,
        *(f"{one}</w>" for one in letters),
        "ca",
        "cat</w>",
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    CLIPTokenizer(vocab, [("c", "a"), ("ca", "t</w>")], model_max_length=20).save_pretrained(folder)
    end = vocab["<|endoftext|>"] if eos is None else eos
    text = VISION | {"vocab_size": len(pieces), "max_position_embeddings": 20, "eos_token_id": end}
    vision = VISION | {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    randomized(CLIPModel(config)).save_pretrained(folder)
    steps = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 36},
        "crop_size": {"height": 32, "width": 32},
        "resample": 3,
        "image_mean": MEAN,
        "image_std": STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(steps))


def write_siglip(folder):
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import SiglipConfig, SiglipModel, SiglipTokenizer

    (folder / "text.txt").write_text(
        "\n".join([WORDS, *WORDS.split(), "ΟΔΟΣ naïve 中文"] * 20), encoding="utf-8"
    )
    options = {
        "vocab_size": 60,
        "pad_id": -1,
        "eos_id": 1,
        "bos_id": -1,
        "unk_id": 2,
        "user_defined_symbols": [],
    }
    options |= {
        "model_type": "unigram",
        "hard_vocab_limit": False,
        "control_symbols": "<pad>",
        "minloglevel": 9,
    }
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "spiece"), **options
    )
    SiglipTokenizer(str(folder / "spiece.model"), model_max_length=16).save_pretrained(folder)
    size = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model")).get_piece_size()
    text = VISION | {"vocab_size": size, "max_position_embeddings": 16, "projection_size": 32}
    vision = VISION | {"image_size": 32, "patch_size": 8}
    randomized(SiglipModel(SiglipConfig(text_config=text, vision_config=vision))).save_pretrained(folder)
    steps = {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": 32, "width": 32},
        "resample": 3,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(steps))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {name: tmp_path_factory.mktemp(name) for name in ("clip", "old_clip", "siglip")}
    write_clip(made["clip"], eos=None)
    write_clip(made["old_clip"], eos=2)
    write_siglip(made["siglip"])
    return made


@pytest.fixture(scope="module")
def models(folders):
    return {name: read_clip(folder) for name, folder in folders.items()}


def batch(model, texts):
    """Token ids and mask of texts, padded as far as the longest needs."""
    ids = [one.ids for one in model.text.tokenizer.encode_batch(list(texts))]
    width = max(map(len, ids))
    rows = [one + [0] * (width - len(one)) for one in ids]
    masks = [[1] * len(one) + [0] * (width - len(one)) for one in ids]
    return {"input_ids": np.array(rows), "attention_mask": np.array(masks)}


@pytest.mark.parametrize("kind", ["clip", "old_clip", "siglip"])
def test_graphs_give_the_vectors_of_transformers(kind, models, tmp_path):
    model = models[kind]
    export_unfused(
        model.text.encoder, torch.zeros((2, 8), dtype=torch.long), "input_ids", tmp_path / "text.onnx"
    )
    session = open_graph(tmp_path / "text.onnx")
    expected = model.text.original(TEXTS, None)
    for some in [TEXTS, *([one] for one in TEXTS)]:
        found = run_graph(session, "base_vector", batch(model, some))
        rows = [TEXTS.index(one) for one in some]
        np.testing.assert_allclose(found, expected[rows], atol=1e-5)
    export_image(model.image.encoder, tmp_path / "image.onnx", 32)
    pixels = np.stack([model.image.preprocess(one) for one in PICTURES])
    found = run_graph(open_graph(tmp_path / "image.onnx"), "base_vector", {"pixel_values": pixels})
    np.testing.assert_allclose(found, model.image.original(PICTURES), atol=1e-5)
    assert found.shape[1] == model.text.dim == model.image.dim


text = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters="Σ"), max_size=60)


@pytest.fixture(scope="module")
def siglip_ids(models, folders):
    """Two functions from a text to its ids: the bundle's tokenizer and SigLIP's own."""
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(folders["siglip"])
    ours = models["siglip"].text.tokenizer
    return lambda text: ours.encode(text).ids, lambda text: own([text], truncation=True, max_length=16)[
        "input_ids"
    ][0]


@settings(max_examples=50)
@given(text=text)
@example(text=" a cat , the  dog ")
@example(text="ΟΔΟΣ ΣΑΣ")
@example(text="_'\u2581 \u200b x")
def test_siglip_ids_are_those_of_its_own_tokenizer(siglip_ids, text):
    assume("</s>" not in text and "<unk>" not in text)  # read as control tokens there
    ours, own = siglip_ids
    assert ours(text) == own(text)


def test_pixels_follow_the_config(models):
    assert models["clip"].image.preprocess == ImagePreprocess(
        32, MEAN, STD, method="crop", resize=36, offset="floor"
    )
    assert models["siglip"].image.preprocess == ImagePreprocess(32, [0.5] * 3, [0.5] * 3, method="squash")


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"height": 32, "width": 40}, "do_center_crop": False},
        {"crop_size": {"height": 32, "width": 40}},
        {"do_resize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127},
        {"do_pad": True},
        {"resample": 5},
        {"size": {"longest_edge": 40}},
        {"image_mean": None},
    ],
)
def test_other_steps_are_refused(change, folders):
    about = json.loads((folders["clip"] / "preprocessor_config.json").read_text())
    with pytest.raises((ValueError, KeyError, TypeError)):
        _steps(about | change)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(name, folders, tmp_path):
    shutil.copytree(folders["clip"], tmp_path / "copy")
    (tmp_path / "copy" / name).unlink()
    with pytest.raises(AdoptError, match=name):
        read_clip(tmp_path / "copy")


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["own.Own", None]}}, "its auto_map"),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "own.Own"}}, "its auto_map"),
        ("config.json", {"auto_map": {"AutoModel": "own.Own"}}, "its auto_map"),
        ("config.json", {"transformers_weights": "adapter_model.bin"}, "adapter_model.bin"),
        ("preprocessor_config.json", {"crop_size": 20000, "size": 20000}, "size is 20000"),
        ("preprocessor_config.json", {"crop_size": 33}, "33 pixels, and the vision tower takes 32"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 30000}}, r"resize is 30000, expected .* 128"),
        ("preprocessor_config.json", {"size": float("inf")}, "infinity"),
        ("preprocessor_config.json", "[" * 200_000, "not valid JSON"),
        ("config.json", "[" * 200_000, "not valid JSON"),
    ],
)
def test_settings_that_ask_for_code_other_files_or_memory_are_refused(
    name, change, says, folders, tmp_path, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    folder = shutil.copytree(folders["clip"], tmp_path / "copy")
    (folder / "own.py").write_text("raise SystemExit")
    if isinstance(change, dict):
        change = json.dumps(json.loads((folder / name).read_text()) | change)
    (folder / name).write_text(change)
    with pytest.raises(AdoptError, match=f"/{name}: .*{says}"):
        read_clip(folder)
