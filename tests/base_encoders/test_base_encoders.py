import json

import pytest
import torch

from unbraid.base_encoders.image_encoder import load_image_encoder, start_image_encoder, tower_preprocess
from unbraid.base_encoders.text_encoder import load_text_encoder, mean_pooling, start_text_encoder
from unbraid.base_encoders.tower_name import read_tower_name
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,  # at the usual 0.02 every text has nearly the same vector
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
PREPROCESS = ImagePreprocess(32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 40, "width": 16, "heads": 2, "layers": 1},
}


def tiny_model(kind):
    import transformers

    torch.manual_seed(0)
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**SHAPE), add_pooling_layer=False)
    if kind == "roberta":
        return transformers.RobertaModel(transformers.RobertaConfig(**SHAPE), add_pooling_layer=False)
    if kind == "distilbert":
        config = transformers.DistilBertConfig(vocab_size=60, dim=32, n_layers=4, n_heads=2, hidden_dim=48)
        return transformers.DistilBertModel(config)
    assert kind == "modernbert"  # layers 0 and 3 see everything, 1 and 2 their neighbours
    config = transformers.ModernBertConfig(**SHAPE, **SPECIAL, local_attention=8)
    return transformers.ModernBertModel(config)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Folder of a tiny random backbone of a kind."""
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            tiny_model(kind).save_pretrained(made[kind])
        return made[kind]

    return folder


def start(folder, layers=()):
    encoder = start_text_encoder(folder, 16, layers=layers).eval().requires_grad_(False)
    encoder.projection.weight.normal_(generator=torch.Generator().manual_seed(1))
    return encoder


def batch(*lengths, seed=0):
    """Random token ids, padded with 0 to the longest, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(5, 60, (length,), generator=generator) for length in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
    return padded, mask


# -- pooling -----------------------------------------------------------------------------------------------


def test_mean_pooling_counts_only_real_tokens():
    hidden = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [99.0, 99.0]]])
    assert mean_pooling(hidden, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 2.0]]


def test_mean_pooling_of_no_tokens_is_zero():
    assert mean_pooling(torch.ones(1, 2, 3), torch.zeros(1, 2)).tolist() == [[0.0, 0.0, 0.0]]


# -- text ----------------------------------------------------------------------------------------------------

kinds = pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "distilbert"])
stacked = pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])


@kinds
def test_base_vectors_are_unit_length_and_of_the_projections_dim(kind, backbone):
    vectors = start(backbone(kind))(*batch(9, 4))
    assert vectors.shape == (2, 16) and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


@kinds
def test_padding_does_not_change_a_vector(kind, backbone):
    encoder = start(backbone(kind))
    ids, mask = batch(40, 7)
    torch.testing.assert_close(encoder(ids, mask)[1:], encoder(ids[1:, :7], mask[1:, :7]))


@kinds
def test_saved_and_loaded_text_encoders_give_the_same_vectors(kind, backbone, tmp_path):
    encoder = start(backbone(kind))
    encoder.save(tmp_path)
    assert torch.equal(load_text_encoder(tmp_path)(*batch(9, 4)), encoder(*batch(9, 4)))


@stacked
def test_the_layers_asked_for_are_kept_with_their_weights(kind, backbone):
    model = tiny_model(kind)
    stack = model.layers if kind == "modernbert" else model.encoder.layer
    encoder = start(backbone(kind), layers=(0, 3))
    kept = encoder.backbone.layers if kind == "modernbert" else encoder.backbone.encoder.layer
    assert len(kept) == encoder.backbone.config.num_hidden_layers == 2
    for layer, original in zip(kept, (stack[0], stack[3]), strict=True):
        for name, weight in original.state_dict().items():
            assert torch.equal(layer.state_dict()[name], weight)


@stacked
def test_an_encoder_of_kept_layers_is_saved_and_loaded_whole(kind, backbone, tmp_path):
    encoder = start(backbone(kind), layers=(0, 3))
    encoder.save(tmp_path)
    assert torch.equal(load_text_encoder(tmp_path)(*batch(30, 4)), encoder(*batch(30, 4)))


def test_all_layers_kept_is_the_backbone_as_it_is(backbone):
    whole, kept = start(backbone("bert")), start(backbone("bert"), layers=(0, 1, 2, 3))
    assert torch.equal(whole(*batch(9, 4)), kept(*batch(9, 4)))


@pytest.mark.parametrize("layers", [(0, 4), (-1,)])
def test_a_layer_that_does_not_exist_is_refused(layers, backbone):
    with pytest.raises(ValueError, match=r"layers 0 to 3, asked to keep"):
        start(backbone("bert"), layers=layers)


def test_a_student_starts_with_a_projection_of_zeros(backbone):
    encoder = start_text_encoder(backbone("bert"), 16)
    assert encoder.projection.weight.shape == (16, 3 * 32) and not encoder.projection.weight.any()


def test_what_is_pooled_is_each_of_the_last_three_layers(backbone):
    encoder, (ids, mask) = start(backbone("bert")), batch(9, 4)
    states = encoder.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    assert len(states) == 5  # the embeddings and four layers
    expected = torch.cat([state[1, :4].mean(0) for state in states[2:]])
    torch.testing.assert_close(encoder.pooled(ids, mask)[1], expected)


def test_a_backbone_of_fewer_layers_is_pooled_without_its_embeddings(backbone):
    encoder = start(backbone("bert"), layers=(0, 3))
    assert encoder.projection.weight.shape == (16, 2 * 32)


def test_a_first_layer_that_loading_would_change_is_refused(backbone):
    with pytest.raises(ValueError, match=r"cannot start with layer 1.*attn_norm"):
        start(backbone("modernbert"), layers=(1, 2))


def test_a_backbone_whose_layers_are_not_found_is_refused_by_its_class(backbone):
    with pytest.raises(ValueError, match="DistilBertModel"):
        start(backbone("distilbert"), layers=(0, 1))


# -- image -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip_name(tmp_path_factory):
    """A tiny model under a name of its own, registered as open_clip's users do."""
    import open_clip

    path = tmp_path_factory.mktemp("clip") / "unbraid-test-clip.json"
    path.write_text(json.dumps(CLIP))
    open_clip.add_model_config(path)
    return "unbraid-test-clip"


@pytest.fixture(params=["timm:test_efficientnet", "timm:test_vit", "open_clip"])
def tower(request, clip_name):
    return f"open_clip:{clip_name}" if request.param == "open_clip" else request.param


def start_image(tower):
    torch.manual_seed(0)
    return start_image_encoder(tower, dim=16, preprocess=PREPROCESS).requires_grad_(False)


def pixels(n, seed=0):
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_image_vectors_are_unit_length_and_of_the_projections_dim(tower):
    vectors = start_image(tower)(pixels(3))
    assert vectors.shape == (3, 16)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_company_does_not_change_an_image_vector(tower):
    encoder, three = start_image(tower).eval(), pixels(3)
    torch.testing.assert_close(encoder(three)[1:2], encoder(three[1:2]), atol=1e-5, rtol=0)


def test_saved_and_loaded_image_encoders_give_the_same_vectors(tower, tmp_path):
    encoder = start_image(tower).eval()
    encoder.mean.copy_(torch.randn(16) / 10)
    encoder.save(tmp_path)
    loaded = load_image_encoder(tmp_path).requires_grad_(False)
    assert torch.equal(loaded(pixels(2)), encoder(pixels(2)))
    assert (loaded.preprocess, loaded.name) == (PREPROCESS, tower)


def test_the_mean_is_taken_from_the_unit_vectors_before_they_are_normalized_again():
    encoder = start_image("timm:test_efficientnet").eval()
    raw = encoder.raw(pixels(4))
    assert torch.equal(encoder(pixels(4)), torch.nn.functional.normalize(raw, dim=-1))  # no mean at the start
    encoder.mean.copy_(raw.mean(0))
    expected = torch.nn.functional.normalize(raw - raw.mean(0), dim=-1)
    torch.testing.assert_close(encoder(pixels(4)), expected)
    torch.testing.assert_close(encoder.raw(pixels(4)), raw)


def test_a_transformer_tower_takes_the_size_it_is_asked_for():
    preprocess = ImagePreprocess(64, PREPROCESS.mean, PREPROCESS.std)  # made for 224
    encoder = start_image_encoder("timm:vit_tiny_patch16_224", dim=16, preprocess=preprocess)
    assert encoder(torch.zeros(1, 3, 64, 64)).shape == (1, 16)


def test_published_weights_are_fetched_at_the_start_and_never_when_loading(clip_name, monkeypatch, tmp_path):
    import open_clip

    asked, create = [], open_clip.create_model

    def recording(name, pretrained=None, **options):
        asked.append(pretrained)
        return create(name, pretrained=None, **options)

    monkeypatch.setattr(open_clip, "create_model", recording)
    tower = f"open_clip:{clip_name}/laion"
    start_image_encoder(tower, dim=16, preprocess=PREPROCESS, published=True).save(tmp_path)
    load_image_encoder(tmp_path)
    assert asked == ["laion", None]


@pytest.mark.parametrize("tower", ["resnet18", "torchvision:resnet18", ""])
def test_a_tower_of_no_known_library_is_refused(tower):
    with pytest.raises(ValueError, match=r"expected timm:MODEL\[\.TAG\] or open_clip:MODEL"):
        start_image_encoder(tower, dim=16, preprocess=PREPROCESS)


@pytest.mark.parametrize(
    ("name", "parts", "published"),
    [
        ("timm:mobilenetv4_conv_small", ("timm", "mobilenetv4_conv_small", ""), False),
        ("timm:test_vit.r160_in1k", ("timm", "test_vit", "r160_in1k"), True),
        ("open_clip:ViT-B-32", ("open_clip", "ViT-B-32", ""), False),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", ("open_clip", "ViT-B-32", "laion2b_s34b_b79k"), True),
    ],
)
def test_a_towers_name_says_whether_its_weights_are_published(name, parts, published):
    found = read_tower_name(name)
    assert (found.library, found.model, found.tag) == parts
    assert found.published is published


def test_a_published_tower_sees_pictures_as_its_weights_were_trained():
    clip = tower_preprocess("open_clip:ViT-B-32/laion2b_s34b_b79k", 96)
    assert (
        clip.size == 96
        and clip.mean[0] == pytest.approx(0.48145466)
        and clip.std[2] == pytest.approx(0.27577711)
    )
    assert tower_preprocess("timm:mobilenetv4_conv_small.e2400_r224_in1k", 64).std == (0.229, 0.224, 0.225)
    assert tower_preprocess("timm:mobilenetv4_conv_small", 64).mean == (0.5, 0.5, 0.5)


def test_timm_is_asked_for_the_tag_at_the_start_and_never_when_loading(monkeypatch, tmp_path):
    import timm

    asked, create = [], timm.create_model

    def recording(name, pretrained=False, **options):
        asked.append((name, pretrained))
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", recording)
    tower = "timm:test_vit.r160_in1k"
    start_image_encoder(tower, dim=16, preprocess=PREPROCESS, published=True).save(tmp_path)
    load_image_encoder(tmp_path)
    assert asked == [("test_vit.r160_in1k", True), ("test_vit.r160_in1k", False)]
