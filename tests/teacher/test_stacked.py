"""Stacked adapters against peft's own layers, which they replace."""

import pytest
import torch

from unbraid.teacher import load
from unbraid.teacher.adapter_file import attach_adapters, read_adapters
from unbraid.teacher.checkpoint import stored_tensors
from unbraid.teacher.inputs import collate
from unbraid.teacher.qwen import load_backbone as load_qwen
from unbraid.teacher.routes import JINA_V4, TASK_ADAPTERS
from unbraid.teacher.stacked import stack_adapters

ROWS = ["code", "retrieval", None, "text-matching", "code"]
TEXTS = [
    "a cat",
    "the house by the river",
    "red",
    "def f(): return 1",
    "the sea is green and the moon is red",
]


@pytest.fixture(scope="module")
def adapted(tiny_v4):
    """A fresh peft model of the tiny checkpoint."""

    def make():
        backbone = load_qwen(
            tiny_v4,
            stored_tensors(tiny_v4),
            device=torch.device("cpu"),
            dtype=torch.float32,
            attention="sdpa",
        )
        return attach_adapters(backbone, read_adapters(tiny_v4 / "adapters", TASK_ADAPTERS))

    return make


@pytest.fixture(scope="module")
def batch(tiny_v4):
    reader = load(tiny_v4, device="cpu").reader
    return collate(reader.read_texts(TEXTS, [JINA_V4["query"]] * len(TEXTS)))


@torch.inference_mode()
def test_mixed_rows_are_those_of_peft(adapted, batch):
    expected = adapted()(batch, True, adapter_names=[row or "__base__" for row in ROWS])
    backbone, gate = stack_adapters(adapted())
    gate.set(ROWS, batch.ids.device, torch.float32)
    found = backbone(batch, True)
    torch.testing.assert_close(found.hidden, expected.hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.projected, expected.projected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", TASK_ADAPTERS)
def test_one_adapter_is_that_of_peft(adapted, batch, name):
    model = adapted()
    model.set_adapter(name, inference_mode=True)
    backbone, gate = stack_adapters(adapted())
    gate.set([name] * len(TEXTS), batch.ids.device, torch.float32)
    torch.testing.assert_close(
        backbone(batch, False).hidden, model(batch, False).hidden, atol=1e-5, rtol=1e-5
    )


@torch.inference_mode()
def test_a_row_without_an_adapter_is_the_frozen_backbone(adapted, batch):
    model = adapted()
    with model.disable_adapter():
        expected = model(batch, False).hidden
    backbone, gate = stack_adapters(adapted())
    gate.set([None] * len(TEXTS), batch.ids.device, torch.float32)
    torch.testing.assert_close(backbone(batch, False).hidden, expected, atol=1e-6, rtol=1e-6)


def test_every_peft_layer_is_replaced_and_no_frozen_weight_is_copied(adapted):
    model = adapted()
    own = model.base_model.model.model.language_model.layers[0].mlp.up_proj.get_base_layer().weight
    backbone, _ = stack_adapters(model)
    assert not any("lora" in name for name, _ in backbone.named_modules())
    assert backbone.model.language_model.layers[0].mlp.up_proj.base.weight is own
