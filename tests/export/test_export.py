"""Parity is the contract of export: every graph against the torch module that it was made from."""

import hashlib
import json
import logging
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import unbraid
from unbraid.base_encoders.image_encoder import start_image_encoder
from unbraid.base_encoders.text_encoder import TextEncoder, load_text_encoder
from unbraid.bundle import read_bundle
from unbraid.errors import BundleError, DataError
from unbraid.export import export_bundle
from unbraid.export.onnx_graphs import (
    LARGE,
    export_image,
    export_mapper,
    export_text,
    quantize,
    store_in_half,
)
from unbraid.export.parity import Parity, ParityError, compare
from unbraid.export.parity_samples import docstrings, image_cases, mapper_cases, text_cases
from unbraid.mappers import GatedMapper, LinearMapper, LowRankMapper, save_mapper
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

LONGEST = 48
SHAPE = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": LONGEST + 2,
    "initializer_range": 0.2,  # at the usual 0.02 every text has nearly the same vector
    "attn_implementation": "eager",
}


def run_graph(path, output, **inputs):
    """One output of a graph, by onnxruntime itself."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run([output], {name: tensor.numpy() for name, tensor in inputs.items()})
    return result


# -- text graphs -----------------------------------------------------------------------------------------------


def tiny_text(kind):
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    torch.manual_seed(0)
    config, model = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}[kind]
    backbone = model(config(**SHAPE), add_pooling_layer=False)
    return TextEncoder(backbone, torch.nn.Linear(32, 24, bias=False)).eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["bert", "roberta"])
def text(request, tmp_path_factory):
    """A text encoder and its graph."""
    encoder, path = tiny_text(request.param), tmp_path_factory.mktemp(request.param) / "text.fp32.onnx"
    export_text(encoder, path)
    return encoder, path


def batch(*lengths):
    generator = torch.Generator().manual_seed(sum(lengths))
    ids = [torch.randint(5, 90, (length,), generator=generator) for length in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
    return padded, mask


def run_text(path, ids, mask):
    return run_graph(path, "base_vector", input_ids=ids, attention_mask=mask)


@pytest.mark.parametrize(
    "lengths",
    [(1,), (2,), (LONGEST,), (7,) * 5, (LONGEST,) * 3, (LONGEST, 1), (3, 30, 8, 8, 1, 12)],
    ids=["one token", "short", "longest", "many", "many longest", "much padding", "mixed"],
)
def test_a_text_graph_gives_what_torch_gives(text, lengths):
    encoder, path = text
    np.testing.assert_allclose(run_text(path, *batch(*lengths)), encoder(*batch(*lengths)), atol=1e-4)


def test_padding_does_not_change_a_graphs_vector(text):
    ids, mask = batch(30, 6)
    alone = run_text(text[1], ids[1:, :6], mask[1:, :6])
    np.testing.assert_allclose(run_text(text[1], ids, mask)[1:], alone, atol=1e-5)


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


def test_a_bert_graph_is_fused_whole(tmp_path):
    export_text(tiny_text("bert"), tmp_path / "text.fp32.onnx")
    fused = {"Attention", "EmbedLayerNormalization", "SkipLayerNormalization", "BiasGelu"}
    assert fused <= operators(tmp_path / "text.fp32.onnx")
    assert "Softmax" not in operators(tmp_path / "text.fp32.onnx")


def test_a_quantized_text_graph_is_smaller_and_close(text, tmp_path):
    encoder, path = text
    quantize(path, tmp_path / "text.int8.onnx")
    assert (tmp_path / "text.int8.onnx").stat().st_size < path.stat().st_size
    found, expected = run_text(tmp_path / "text.int8.onnx", *batch(9, 9)), encoder(*batch(9, 9)).numpy()
    assert ((found * expected).sum(1) > 0.98).all()


def largest_int8_weight(path):
    weights = [onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    return max(np.abs(one.astype(int)).max() for one in weights if one.dtype == np.int8)


def test_int8_weights_of_text_have_7_bits(text, tmp_path):
    """So that no two products with a uint8 overflow 16 bits, whatever the CPU that runs the tests."""
    quantize(text[1], tmp_path / "text.int8.onnx")
    assert largest_int8_weight(tmp_path / "text.int8.onnx") == 64


# -- image graphs ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["timm:test_efficientnet", "timm:test_vit"])
def image(request, tmp_path_factory):
    torch.manual_seed(0)
    preprocess = ImagePreprocess(32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    encoder = start_image_encoder(request.param, dim=24, preprocess=preprocess).eval().requires_grad_(False)
    encoder.mean.copy_(torch.randn(24) / 20)
    path = tmp_path_factory.mktemp("image") / "image.fp32.onnx"
    export_image(encoder, path, 32)
    return encoder, path


@pytest.mark.parametrize("count", [1, 2, 9])
def test_an_image_graph_gives_what_torch_gives(image, count):
    encoder, path = image
    pixels = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(count))
    np.testing.assert_allclose(
        run_graph(path, "base_vector", pixel_values=pixels), encoder(pixels), atol=1e-4
    )


def test_half_precision_halves_the_file_and_keeps_the_vectors(image, tmp_path):
    encoder, path = image
    half = tmp_path / "image.fp32.onnx"
    shutil.copy(path, half)
    store_in_half(half)
    assert half.stat().st_size < 0.62 * path.stat().st_size
    pixels = torch.randn(3, 3, 32, 32)
    found = run_graph(half, "base_vector", pixel_values=pixels)
    assert found.dtype == np.float32
    assert (found * encoder(pixels).numpy()).sum(1).min() > 0.999
    large = [tensor for tensor in onnx.load(half).graph.initializer if np.prod(tensor.dims) >= LARGE]
    assert large and all(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in large)


# -- mapper graphs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["linear", "low-rank", "gated"])
def mapper(request, tmp_path_factory):
    torch.manual_seed(0)
    eye = torch.eye(256)
    make = {
        "linear": LinearMapper,
        "low-rank": lambda start: LowRankMapper(start, 8),
        "gated": lambda start: GatedMapper(start, 32),
    }
    made = make[request.param](eye)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape) / 16)
    path = tmp_path_factory.mktemp("mapper") / "query.mapper.fp32.onnx"
    export_mapper(made, path, 256)
    return made.requires_grad_(False), path


@pytest.mark.parametrize("count", [1, 2, 33])
def test_a_mapper_graph_gives_both_of_torchs_vectors(mapper, count):
    module, path = mapper
    base = torch.nn.functional.normalize(torch.randn(count, 256), dim=1)
    mapped, task_vector = (run_graph(path, name, base=base) for name in ("mapped", "task_vector"))
    np.testing.assert_allclose(mapped, base @ module.matrix().T, atol=1e-4)
    np.testing.assert_allclose(task_vector, torch.nn.functional.normalize(module(base), dim=1), atol=1e-5)


def test_a_quantized_mapper_graph_is_smaller(mapper, tmp_path):
    quantize(mapper[1], tmp_path / "query.mapper.int8.onnx")
    assert (tmp_path / "query.mapper.int8.onnx").stat().st_size < mapper[1].stat().st_size


def test_int8_weights_of_a_mapper_have_7_bits(mapper, tmp_path):
    quantize(mapper[1], tmp_path / "query.mapper.int8.onnx")
    assert largest_int8_weight(tmp_path / "query.mapper.int8.onnx") == 64


# -- the parity check ------------------------------------------------------------------------------------------

NAMES = ["input_ids", "attention_mask"]


def test_the_parity_of_a_graph_is_measured_over_every_case(text):
    encoder, path = text
    parity = compare(encoder, path, NAMES, [batch(5), batch(9, 3)], "base_vector")
    assert (parity.graph, parity.cases) == ("text.fp32.onnx", 2)
    assert 0 <= parity.largest_difference <= 1e-4
    assert parity.least_cosine <= parity.mean_cosine == pytest.approx(1, abs=1e-5)


def test_a_graph_of_other_weights_is_refused(text):
    _, path = text
    other = tiny_text("bert")
    with torch.no_grad():
        other.projection.weight[0, 0] += 0.1
    with pytest.raises(ParityError, match=r"text\.fp32\.onnx: differs from torch by .* the limit is 0\.0001"):
        compare(other, path, NAMES, [batch(5)], "base_vector")


def test_one_case_that_differs_is_enough_to_refuse(text):
    encoder, path = text

    def off_when_long(ids, mask):
        return encoder(ids, mask) + (1e-3 if ids.shape[1] > 20 else 0)

    compare(off_when_long, path, NAMES, [batch(5), batch(9)], "base_vector")
    with pytest.raises(ParityError):
        compare(off_when_long, path, NAMES, [batch(5), batch(30), batch(9)], "base_vector")


def test_a_graph_that_gives_nan_is_refused(text):
    encoder, path = text
    with pytest.raises(ParityError), np.errstate(invalid="ignore"):
        compare(lambda *case: encoder(*case) * np.nan, path, NAMES, [batch(5)], "base_vector")


def test_an_int8_graph_is_held_to_its_mean_cosine(text, tmp_path):
    encoder, path = text
    shutil.copy(path, tmp_path / "text.int8.onnx")
    slant = torch.randn(24, generator=torch.Generator().manual_seed(0))

    def slanted(share):
        return lambda ids, mask: encoder(ids, mask) + share * slant / slant.norm()

    parity = compare(
        slanted(0.05), tmp_path / "text.int8.onnx", NAMES, [batch(5)], "base_vector", rounded=True
    )
    assert 0.99 <= parity.mean_cosine < 1
    with pytest.raises(ParityError, match=r"the limit is mean cosine 0\.99"):
        compare(slanted(0.5), tmp_path / "text.int8.onnx", NAMES, [batch(5)], "base_vector", rounded=True)


# -- samples ---------------------------------------------------------------------------------------------------


def test_the_samples_are_distinct_real_texts():
    texts = docstrings()
    assert len(texts) > 200 and len(set(texts)) == len(texts)
    assert min(map(len, texts)) < 50 and max(map(len, texts)) > 1000


def test_text_cases_are_short_and_long_one_and_many_padded_and_not(tiny):
    cases = text_cases(Tokenizer.from_file(str(tiny.run / "small" / "tokenizer.json")))
    shapes = [tuple(ids.shape) for ids, _ in cases]
    assert min(shape[1] for shape in shapes) < 12 and max(shape[1] for shape in shapes) == 24
    assert any(shape[0] == 1 for shape in shapes) and any(shape[0] >= 8 for shape in shapes)
    assert any(mask.all() for _, mask in cases) and any(not mask.all() for _, mask in cases)
    for ids, mask in cases:
        assert ids.shape == mask.shape and (ids[mask == 0] == 0).all()


def test_image_and_mapper_cases_are_one_and_many():
    assert [tuple(pixels.shape) for (pixels,) in image_cases(32)] == [(1, 3, 32, 32), (4, 3, 32, 32)]
    assert [tuple(base.shape) for (base,) in mapper_cases(64)] == [(1, 64), (16, 64)]


# -- bundles ---------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tiny, tmp_path):
    """A copy of the tiny run without its image tower, to be changed."""
    shutil.copytree(tiny.run, tmp_path / "run", ignore=shutil.ignore_patterns("image"))
    return tmp_path / "run"


@pytest.fixture
def quick(monkeypatch):
    """Write empty graphs, for what does not depend on them."""
    tiers, writer = "unbraid.export.text_tiers", "unbraid.export.bundle_writer"
    written = {tiers: ("export_text", "export_static", "quantize"), writer: ("export_mapper", "quantize")}
    parity = Parity("text.fp32.onnx", 1, 0.0, 1.0, 1.0)
    for module, names in written.items():
        for name in names:
            monkeypatch.setattr(f"{module}.{name}", lambda made, path, *more, **named: path.write_bytes(b""))
        monkeypatch.setattr(f"{module}.compare", lambda module, path, *more, **named: parity)
    monkeypatch.setattr(f"{writer}.store_in_half", lambda path: None)
    monkeypatch.setattr(f"{tiers}.export_head", lambda head, encoder, path, **named: path.write_bytes(b""))
    monkeypatch.setattr(f"{tiers}.open_with_states", lambda encoder: (None, ""))


def test_an_exported_bundle_encodes_as_the_trained_encoder(tiny, exact):
    encoder = load_text_encoder(tiny.run / "small").eval()
    tokenizer = Tokenizer.from_file(str(tiny.run / "small" / "tokenizer.json"))
    texts = ["a cat", "the red house of the river " * 9, ""]
    expected = [
        encoder(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))[0].detach().numpy()
        for ids in (encoding.ids for encoding in tokenizer.encode_batch(texts))
    ]
    np.testing.assert_allclose(exact.encode(texts, on_truncate="ignore"), expected, atol=1e-4)


def test_every_graph_of_a_bundle_has_its_parity_beside_it(bundle_folder):
    parities = json.loads((bundle_folder / "parity.json").read_text())
    assert {parity["graph"] for parity in parities} == {path.name for path in bundle_folder.glob("*.onnx")}


def test_int8_graphs_are_smaller(bundle_folder):
    pairs = [
        (path, path.with_name(path.name.replace("int8", "fp32"))) for path in bundle_folder.glob("*.int8.*")
    ]
    assert len(pairs) == 7
    assert all(int8.stat().st_size < fp32.stat().st_size for int8, fp32 in pairs)


def test_a_bundle_lists_the_licence_of_every_source(bundle_folder):
    bundle = read_bundle(bundle_folder)
    record = json.loads((bundle_folder.parent / "run" / "small" / "record.json").read_text())
    sources = {source["file"]: source["licence"] for source in record["recipe"]["source"]}
    assert sources.items() <= dict(bundle.licences).items()
    assert any("MiniLM" in name for name in bundle.licences)


def test_a_run_without_pictures_gives_a_bundle_without_them(run, tmp_path):
    parities = export_bundle(run, tmp_path / "bundle", precisions=("fp32",))
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.modalities == ("text", "code") and bundle.image is None
    assert list(bundle.text["text"].graphs) == ["fp32"]
    assert not [parity for parity in parities if parity.graph.startswith(("image", "text.int8"))]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "run"]


def test_pictures_move_no_text_and_no_code_vector(tiny, run, tmp_path):
    """`run` is the same run without its image tower: the graphs and what they give are equal, byte by byte."""
    export_bundle(run, tmp_path / "without")
    pair = [unbraid.load(folder) for folder in (tiny.bundle, tmp_path / "without")]
    assert [model.modalities for model in pair] == [("text", "code", "image"), ("text", "code")]
    for path in (tmp_path / "without").glob("*.onnx"):
        assert (tiny.bundle / path.name).read_bytes() == path.read_bytes()
    items = ["a red cat", unbraid.Code("def house(): return river")]
    hashes = [hashlib.sha256(model.encode(items, task="document").tobytes()).hexdigest() for model in pair]
    assert hashes[0] == hashes[1]


def manifest(folder):
    return json.loads((folder / "bundle.json").read_text())


def test_a_nano_tier_changes_the_bundles_id_and_leaves_its_base(quick, run, tmp_path):
    export_bundle(run, tmp_path / "both")
    shutil.rmtree(run / "nano")
    export_bundle(run, tmp_path / "small")
    both, small = manifest(tmp_path / "both"), manifest(tmp_path / "small")
    assert both["base_id"] == small["base_id"]
    assert both["id"] != small["id"]
    assert "tiers" not in small and list(read_bundle(tmp_path / "small").tiers) == ["small"]


def test_the_ids_of_a_nano_tier_are_of_its_weights(quick, run, tmp_path):
    export_bundle(run, tmp_path / "bundle")
    before = manifest(tmp_path / "bundle")
    weights = load_file(run / "nano" / "static.safetensors")
    weights["table"][9, 9] += 1
    save_file(weights, run / "nano" / "static.safetensors")
    export_bundle(run, tmp_path / "bundle")
    after = manifest(tmp_path / "bundle")
    assert before["tiers"]["nano"]["text"]["id"] != after["tiers"]["nano"]["text"]["id"]
    assert before["tiers"]["nano"]["code"]["id"] == before["tiers"]["nano"]["text"]["id"] + "-split"
    assert before["base_id"] == after["base_id"]


def test_tiers_share_one_tokenizer_file_where_it_is_the_same(quick, run, tmp_path):
    export_bundle(run, tmp_path / "bundle")
    assert manifest(tmp_path / "bundle")["tiers"]["nano"]["text"]["tokenizer"] == "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(run / "nano" / "tokenizer.json"))
    tokenizer.enable_truncation(16)
    tokenizer.save(str(run / "nano" / "tokenizer.json"))
    export_bundle(run, tmp_path / "bundle")
    about = manifest(tmp_path / "bundle")
    assert about["tiers"]["nano"]["text"]["tokenizer"] == "nano.tokenizer.json" in about["files"]
    assert about["tiers"]["nano"]["text"]["max_tokens"] == 16
    assert about["modalities"]["text"]["max_tokens"] == 24


def test_a_run_whose_nano_tier_is_unfinished_is_refused(run, tmp_path):
    (run / "nano" / "record.json").unlink()
    with pytest.raises(DataError, match=r"nano/record\.json: not found"):
        export_bundle(run, tmp_path / "bundle")


@pytest.mark.parametrize("file", ["small/encoder.json", "small/record.json", "mappers/record.json"])
def test_an_unfinished_run_is_refused_with_what_is_missing(file, run, tmp_path):
    (run / file).unlink()
    with pytest.raises(DataError, match=f"{file}: not found: finish `unbraid train distill`"):
        export_bundle(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_run_whose_pictures_are_unfinished_is_refused(run, tmp_path):
    (run / "image").mkdir()
    with pytest.raises(DataError, match=r"image/record\.json: not found"):
        export_bundle(run, tmp_path / "bundle")


def test_a_run_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="not found"):
        export_bundle(tmp_path / "none", tmp_path / "bundle")


def test_a_tokenizer_without_truncation_is_refused(run, tmp_path):
    path = run / "small" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.save(str(path))
    with pytest.raises(DataError, match=r"tokenizer\.json: sets no truncation length"):
        export_bundle(run, tmp_path / "bundle")


def test_a_folder_that_is_no_bundle_is_refused_and_left_alone(run, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="precious: exists and is no bundle"):
        export_bundle(run, tmp_path / "precious")
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["thesis.txt"]


def test_a_file_is_refused_and_left_alone(run, tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(DataError, match="precious: exists and is no bundle"):
        export_bundle(run, tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "x"


def test_a_bundle_is_replaced_whole(run, quick, tmp_path):
    out = tmp_path / "deep" / "bundle"
    out.mkdir(parents=True)  # an empty folder will do
    export_bundle(run, out)
    (out / "left-over.onnx").write_text("of the bundle before")
    export_bundle(run, out)
    assert not (out / "left-over.onnx").exists()
    assert read_bundle(out).name == "starter"


def test_an_export_that_fails_leaves_the_bundle_that_was_there(run, quick, tmp_path, monkeypatch):
    export_bundle(run, tmp_path / "bundle")
    before = (tmp_path / "bundle" / "bundle.json").read_bytes()

    def strays(module, path, *more, **named):
        raise ParityError(f"{path}: differs from torch")

    monkeypatch.setattr("unbraid.export.bundle_writer.compare", strays)
    with pytest.raises(ParityError):
        export_bundle(run, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "bundle.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "run"]


def test_a_precision_that_no_graph_has_is_refused(run, tmp_path):
    with pytest.raises(BundleError, match="int4"):
        export_bundle(run, tmp_path / "bundle", precisions=("int8", "int4"))
    assert not (tmp_path / "bundle").exists()


def test_other_weights_give_another_base_id(run, quick, tmp_path):
    """Ids are what keeps vectors of two bases apart."""
    export_bundle(run, tmp_path / "before")
    path = run / "small" / "projection.safetensors"
    save_file({"weight": load_file(path)["weight"] + 1e-6}, path)
    export_bundle(run, tmp_path / "after")
    before, after = (read_bundle(tmp_path / name) for name in ("before", "after"))
    assert before.base_id != after.base_id and before.text["text"].id != after.text["text"].id


def test_another_mapper_keeps_the_base_id(run, quick, tmp_path):
    """Stored base vectors stay good when a mapper is fitted again."""
    export_bundle(run, tmp_path / "before")
    save_mapper(LinearMapper(torch.eye(512)), run / "mappers" / "query.safetensors")
    export_bundle(run, tmp_path / "after")
    before, after = (read_bundle(tmp_path / name) for name in ("before", "after"))
    assert before.base_id == after.base_id and before.mappers["query"].id != after.mappers["query"].id


def test_text_and_code_share_a_graph_and_not_an_id(run, quick, tmp_path):
    export_bundle(run, tmp_path / "bundle")
    text = read_bundle(tmp_path / "bundle").text
    assert text["text"].graphs == text["code"].graphs and text["text"].id != text["code"].id
    assert (text["text"].split_identifiers, text["code"].split_identifiers) == (False, True)


@pytest.mark.parametrize("gone", ["query", "symmetric"])
def test_a_mode_without_its_mappers_is_left_out(gone, run, quick, tmp_path):
    (run / "mappers" / f"{gone}.safetensors").unlink()
    export_bundle(run, tmp_path / "bundle")
    lost = "retrieval" if gone == "query" else gone
    assert set(read_bundle(tmp_path / "bundle").search_modes) == {"retrieval", "symmetric", "code"} - {lost}


def test_the_runtime_loads_what_was_exported(bundle_folder):
    model = unbraid.load(bundle_folder)
    assert model.map(model.encode(["a cat"]), "query").shape == (1, 512)


@pytest.fixture(autouse=True)
def quiet_quantizer():
    logging.disable(logging.WARNING)  # "please consider pre-processing", on the root logger
    yield
    logging.disable(logging.NOTSET)
