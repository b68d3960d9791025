"""Gradients of a batch: whole, in parts and with the cache they are the same."""

import pytest
import torch
from peft import PeftModel
from PIL import Image

from unbraid.teacher.adapter_file import lora_tensors
from unbraid.teacher.adapters.adapter_vectors import Encoded, backward, encode_part, vectors_of
from unbraid.teacher.loading import load_trainable
from unbraid.teacher.model import lora_config
from unbraid.teacher.routes import JINA_V4, STARTER
from unbraid.training.losses import late_scores, nce

LEFT = ["cat", "the red house is by the river", "moon", "a bright green dog"]
RIGHT = ["a cat in the house", "river", "search the moon of the red cat and dog", "green"]
WHOLE = 10_000  # tokens: everything in one part


@pytest.fixture(scope="module")
def loaded(tiny_bert):
    """The tiny BERT's reader, and a function that gives it an adapter with some dropout that is not zero."""
    backbone, reader, _ = load_trainable(tiny_bert, device="cpu", dtype="float32", max_tokens=32)
    torch.manual_seed(0)
    model = PeftModel(
        backbone, lora_config(backbone.model, rank=4, alpha=4, dropout=0.3), adapter_name="pair"
    )
    for (_, side), tensor in lora_tensors(model, "pair").items():
        if side == "B":
            torch.nn.init.normal_(tensor, std=0.05)
    return model.eval(), reader


@pytest.fixture
def inputs(loaded):
    texts = LEFT + RIGHT
    return loaded[1].read_texts(texts, [STARTER["query"]] * len(texts))


def joint(found: Encoded) -> torch.Tensor:
    """NCE of single vectors, and of multi-vectors where there are any."""
    left, right = found.dense[:4], found.dense[4:]
    total = nce(left @ right.T, 0.1)
    if found.tokens is not None:
        total = total + nce(late_scores(found.tokens[:4], found.tokens[4:]) / 5, 0.1)
    return total


def gradients(model, inputs, *, dropout=False, **options):
    """Value and gradients of `joint` by one call, from the same random state every time."""
    model.train(dropout)
    model.zero_grad()
    torch.manual_seed(5)
    value = backward(model, inputs, joint, **options)
    model.eval()
    return value, {
        key: tensor.grad.clone()
        for key, tensor in lora_tensors(model, "pair").items()
        if tensor.grad is not None
    }


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=0)
    assert found[1].keys() == expected[1].keys()
    for key, gradient in expected[1].items():
        torch.testing.assert_close(found[1][key], gradient, atol=1e-6, rtol=0)


@pytest.mark.parametrize("project", [False, True], ids=["dense", "dense and tokens"])
@pytest.mark.parametrize("dropout", [False, True], ids=["no dropout", "dropout"])
def test_gradients_with_the_cache_are_those_without(loaded, inputs, project, dropout):
    options = {"batch_tokens": 16, "project": project, "dropout": dropout}
    plain = gradients(loaded[0], inputs, cache=False, **options)
    assert max(gradient.abs().max() for gradient in plain[1].values()) > 1e-3
    assert_same(gradients(loaded[0], inputs, cache=True, **options), plain)


def test_dropout_changes_the_gradients(loaded, inputs):
    options = {"batch_tokens": 16, "project": False, "cache": False}
    values = [gradients(loaded[0], inputs, dropout=dropout, **options)[0] for dropout in (False, True)]
    assert abs(values[0] - values[1]) > 1e-3


@pytest.mark.parametrize("cache", [False, True], ids=["plain", "cache"])
@pytest.mark.parametrize("project", [False, True], ids=["dense", "dense and tokens"])
def test_gradients_do_not_depend_on_the_size_of_the_parts(loaded, inputs, project, cache):
    whole = gradients(loaded[0], inputs, batch_tokens=WHOLE, project=project, cache=False)
    for batch_tokens in (1, 16):
        assert_same(
            gradients(loaded[0], inputs, batch_tokens=batch_tokens, project=project, cache=cache), whole
        )


def test_gradients_are_those_of_one_plain_batch(loaded, inputs):
    model = loaded[0]
    model.zero_grad()
    value = joint(encode_part(model, inputs, project=True))
    value.backward()
    expected = {key: tensor.grad.clone() for key, tensor in lora_tensors(model, "pair").items()}
    assert_same(
        gradients(model, inputs, batch_tokens=16, project=True, cache=True), (value.detach(), expected)
    )


def test_the_projector_has_gradients_only_with_tokens(loaded, inputs):
    def of_projector(project):
        _, found = gradients(loaded[0], inputs, batch_tokens=16, project=project, cache=True)
        return [key for key in found if "projector" in key[0]]

    assert len(of_projector(True)) == 2 and not of_projector(False)


def test_only_the_adapter_has_gradients(loaded, inputs):
    model = loaded[0]
    gradients(model, inputs, batch_tokens=16, project=True, cache=True)
    own = {id(tensor) for tensor in lora_tensors(model, "pair").values()}
    assert all(one.grad is None for one in model.parameters() if id(one) not in own)


def test_gradients_add_up_over_calls(loaded, inputs):
    model = loaded[0]
    options = {"batch_tokens": 16, "project": False, "cache": True}
    _, once = gradients(model, inputs, **options)
    backward(model, inputs, joint, **options)
    for key, gradient in once.items():
        torch.testing.assert_close(lora_tensors(model, "pair")[key].grad, 2 * gradient, atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch_tokens", [1, 20, WHOLE])
def test_vectors_keep_the_order_of_the_inputs(loaded, inputs, batch_tokens):
    model = loaded[0]
    alone = torch.cat([encode_part(model, [one], project=False).dense for one in inputs]).detach()
    found = vectors_of(model, inputs, batch_tokens=batch_tokens, what="test")
    torch.testing.assert_close(found, alone, atol=1e-6, rtol=0)
    assert not found.requires_grad


def test_pictures_and_texts_share_a_batch_but_no_part(tiny_v4):
    """A loss over both sees the vectors of each in its own place, with the cache or without."""
    backbone, reader, _ = load_trainable(tiny_v4, device="cpu", dtype="float32", max_tokens=32)
    torch.manual_seed(0)
    model = PeftModel(backbone, lora_config(backbone.model, rank=2, alpha=2), adapter_name="pair").eval()
    for (_, side), tensor in lora_tensors(model, "pair").items():
        if side == "B":
            torch.nn.init.normal_(tensor, std=0.05)
    pictures = [
        reader.read_picture(Image.new("RGB", (56, 28 * n), color)) for n, color in ((2, "red"), (3, "blue"))
    ]
    texts = reader.read_texts(["a red cat", "the sea"], [JINA_V4["query"]] * 2)
    mixed = [texts[0], pictures[0], texts[1], pictures[1]]
    alone = torch.cat([encode_part(model, [one], project=False).dense for one in mixed]).detach()
    seen = []

    def loss(found):
        seen.append(found.dense.detach().clone())
        return nce(found.dense[:2] @ found.dense[2:].T, 0.1)

    found = []
    for cache in (False, True):
        model.zero_grad()
        backward(model, mixed, loss, batch_tokens=WHOLE, project=True, cache=cache)
        found.append(
            [
                tensor.grad
                for (module, _), tensor in lora_tensors(model, "pair").items()
                if "projector" not in module
            ]
        )
    assert all(torch.allclose(one, alone, atol=1e-5) for one in seen)
    for plain, cached in zip(*found, strict=True):
        torch.testing.assert_close(cached, plain, atol=1e-6, rtol=1e-5)
