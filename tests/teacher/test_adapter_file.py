"""One file with three adapters, split into peft's own; whatever is in the file, it loads exactly or is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file, save_file

from unbraid.errors import TeacherError
from unbraid.teacher.adapter_file import (
    CONFIG,
    WEIGHTS,
    attach_adapters,
    lora_tensors,
    read_adapters,
    save_adapters,
)
from unbraid.teacher.checkpoint import stored_tensors
from unbraid.teacher.model import Backbone, lora_config
from unbraid.teacher.qwen import TASK_ADAPTERS, load_backbone

PREFIX = "base_model.model."
LAYER = "model.language_model.layers.1"


def backbone_of(folder: Path, dtype: torch.dtype = torch.float32):
    return load_backbone(
        folder, stored_tensors(folder), device=torch.device("cpu"), dtype=dtype, attention="sdpa"
    )


@pytest.fixture(scope="module")
def model(tiny_v4) -> PeftModel:
    return attach_adapters(backbone_of(tiny_v4), read_adapters(tiny_v4 / "adapters", TASK_ADAPTERS))


@pytest.fixture(scope="module")
def backbone(tiny_v4):
    """One to be refused on: an adapter that does not fit must not be left behind, so few tests use it."""
    return backbone_of(tiny_v4)


@pytest.fixture
def adapters(tiny_v4, tmp_path) -> Path:
    """A copy of the adapters' folder, to be damaged."""
    return Path(shutil.copytree(tiny_v4 / "adapters", tmp_path / "adapters"))


def change(folder: Path, alter) -> None:
    tensors = load_file(folder / WEIGHTS)
    alter(tensors)
    save_file(tensors, folder / WEIGHTS)


def change_config(folder: Path, **fields) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_every_tensor_of_the_file_is_in_its_adapter(model, tiny_v4):
    written = load_file(tiny_v4 / "adapters" / WEIGHTS)
    found = {
        f"{PREFIX}{module}.lora_{side}.{task}.weight": tensor
        for task in TASK_ADAPTERS
        for (module, side), tensor in lora_tensors(model, task).items()
    }
    assert found.keys() == written.keys() and len(found) == (2 * 7 + 1) * 3 * 2
    assert all(torch.equal(found[key], written[key].float()) for key in written)
    assert not any(parameter.requires_grad for parameter in model.parameters()) and not model.training


def test_the_vision_tower_has_no_adapters(model):
    assert not any("visual" in module for module, _ in lora_tensors(model, "code"))


def test_the_published_sizes_give_the_published_counts():
    """1518 tensors, 59,936,768 parameters a task: what is known of the published file, without the file."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

    text = {"hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2}
    text |= {"intermediate_size": 11008, "vocab_size": 151936}
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
    config = Qwen2_5_VLConfig(text_config=text, vision_config={**vision, "out_hidden_size": 2048})
    with torch.device("meta"):
        whole = Backbone(Qwen2_5_VLModel(config), torch.nn.Linear(2048, 128))
    lora = lora_config(whole.model, rank=32, alpha=32)
    adapted = PeftModel(whole, lora, adapter_name="code", low_cpu_mem_usage=True)
    found = lora_tensors(adapted, "code")
    assert len(found) * 3 == 1518
    assert sum(tensor.numel() for tensor in found.values()) == 59_936_768


def test_adapters_have_the_dtype_of_the_backbone(tiny_v4):
    half = attach_adapters(
        backbone_of(tiny_v4, torch.bfloat16), read_adapters(tiny_v4 / "adapters", TASK_ADAPTERS)
    )
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_saving_and_reading_gives_the_same_file(model, tiny_v4, tmp_path):
    save_adapters(model, tmp_path, TASK_ADAPTERS, dtype=torch.bfloat16, backbone="tiny")
    written, again = load_file(tiny_v4 / "adapters" / WEIGHTS), load_file(tmp_path / WEIGHTS)
    assert written.keys() == again.keys()
    assert all(torch.equal(written[key], again[key]) for key in written)
    first, second = (read_adapters(place, TASK_ADAPTERS) for place in (tiny_v4 / "adapters", tmp_path))
    assert (first.config(), first.scaling) == (second.config(), second.scaling)


def test_a_list_of_modules_is_saved_as_a_list(tiny_v4, adapters, tmp_path):
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    change_config(adapters, target_modules=[*names, "multi_vector_projector"])
    listed = attach_adapters(backbone_of(tiny_v4), read_adapters(adapters, TASK_ADAPTERS))
    save_adapters(listed, tmp_path / "again", TASK_ADAPTERS, dtype=torch.bfloat16, backbone="tiny")
    assert read_adapters(tmp_path / "again", TASK_ADAPTERS).target_modules == sorted(
        [*names, "multi_vector_projector"]
    )


def test_a_missing_key_is_refused_by_name(backbone, adapters):
    change(adapters, lambda t: t.pop(f"{PREFIX}{LAYER}.mlp.up_proj.lora_A.text-matching.weight"))
    with pytest.raises(TeacherError, match=r"'text-matching'.*missing: .*layers\.1\.mlp\.up_proj\.lora_A"):
        attach_adapters(backbone, read_adapters(adapters, TASK_ADAPTERS))


def test_keys_of_another_shape_or_module_are_refused_by_name(tiny_v4, adapters):
    def alter(tensors):
        tensors[f"{PREFIX}{LAYER}.mlp.up_proj.lora_A.code.weight"] = torch.ones(4, 63)
        tensors[f"{PREFIX}model.visual.merger.lora_A.code.weight"] = torch.ones(4, 63)

    change(adapters, alter)
    with pytest.raises(
        TeacherError, match=r"unexpected: model\.visual\.merger.*up_proj.* \(4, 63\) instead of \(4, 64\)"
    ):
        attach_adapters(backbone_of(tiny_v4), read_adapters(adapters, TASK_ADAPTERS))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            f"{LAYER}.mlp.up_proj.lora_A.clustering.weight",
            r"unexpected .*clustering.*one of retrieval, text-m",
        ),
        (f"{LAYER}.mlp.up_proj.lora_A.weight", r"unexpected .*up_proj\.lora_A\.weight"),
        (f"{LAYER}.mlp.up_proj.weight", r"unexpected .*up_proj\.weight"),
    ],
)
def test_a_key_of_another_form_or_task_is_refused_by_name(adapters, key, said):
    change(adapters, lambda tensors: tensors.update({PREFIX + key: torch.ones(4, 64)}))
    with pytest.raises(TeacherError, match=said):
        read_adapters(adapters, TASK_ADAPTERS)


def test_an_adapter_whose_b_is_zero_is_refused(adapters):
    def alter(tensors):
        for key, tensor in tensors.items():
            if ".lora_B.code." in key:
                tensor.zero_()

    change(adapters, alter)
    with pytest.raises(TeacherError, match="every B matrix of 'code' is zero"):
        read_adapters(adapters, TASK_ADAPTERS)


def test_an_adapter_that_is_absent_is_named(adapters):
    def alter(tensors):
        for key in [key for key in tensors if ".code." in key]:
            del tensors[key]

    change(adapters, alter)
    with pytest.raises(TeacherError, match="no tensors of the adapter 'code'"):
        read_adapters(adapters, TASK_ADAPTERS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"r": 0}, "expected a plain LoRA"),
        ({"r": True}, "expected a plain LoRA"),
        ({"r": 10**9}, "expected floats of rank 1000000000, got .*lora_A"),
        ({"lora_alpha": "32"}, "expected a plain LoRA"),
        ({"lora_alpha": -4}, "expected a plain LoRA"),
        ({"target_modules": []}, "expected a plain LoRA"),
        ({"target_modules": {"a": 1}}, "expected a plain LoRA"),
        ({"target_modules": "(["}, "not a readable adapter configuration"),
        ({"exclude_modules": 3}, "expected a plain LoRA"),
        ({"use_dora": True}, "not use_dora"),
        ({"use_rslora": True}, "not use_rslora"),
        ({"alpha_pattern": {"q_proj": 64}}, "not alpha_pattern"),
    ],
)
def test_a_configuration_of_something_else_is_refused(adapters, fields, said):
    change_config(adapters, **fields)
    with pytest.raises(TeacherError, match=said):
        read_adapters(adapters, TASK_ADAPTERS)


def test_modules_that_do_not_exist_are_refused(tiny_v4, adapters):
    change_config(adapters, target_modules="nothing")
    with pytest.raises(TeacherError, match="adapters for 'nothing' do not fit the backbone"):
        attach_adapters(backbone_of(tiny_v4), read_adapters(adapters, TASK_ADAPTERS))


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.float8_e4m3fn])
def test_tensors_that_are_no_usual_floats_are_refused(adapters, dtype):
    key = f"{LAYER}.mlp.up_proj.lora_A.code.weight"
    change(adapters, lambda tensors: tensors.update({PREFIX + key: torch.ones(4, 64).to(dtype)}))
    with pytest.raises(TeacherError, match="expected floats of rank 4, got .*up_proj"):
        read_adapters(adapters, TASK_ADAPTERS)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_an_absent_file_is_named(adapters, name):
    (adapters / name).unlink()
    with pytest.raises(TeacherError, match=name):
        read_adapters(adapters, TASK_ADAPTERS)


def refused_or_read(folder: Path) -> None:
    """Reading gives adapters or TeacherError: any other exception fails the test."""
    try:
        found = read_adapters(folder, TASK_ADAPTERS)
    except TeacherError:
        return
    assert found.tensors.keys() == set(TASK_ADAPTERS) and found.rank == 4


fuzz = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["r", "lora_alpha", "target_modules", "exclude_modules", "use_dora", "use_rslora", "rank_pattern"]
)


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes_as_configuration_are_refused(adapters, content):
    (adapters / CONFIG).write_bytes(content)
    with pytest.raises(TeacherError, match=CONFIG):
        read_adapters(adapters, TASK_ADAPTERS)


@fuzz
@given(JSON)
def test_any_json_as_configuration_is_refused(adapters, content):
    (adapters / CONFIG).write_text(json.dumps(content))
    with pytest.raises(TeacherError, match=CONFIG):
        read_adapters(adapters, TASK_ADAPTERS)


@fuzz
@given(st.dictionaries(FIELDS, JSON, min_size=1))
def test_any_field_is_read_or_refused(tiny_v4, adapters, fields):
    shutil.copy(tiny_v4 / "adapters" / CONFIG, adapters / CONFIG)
    change_config(adapters, **fields)
    refused_or_read(adapters)


def test_deeply_nested_json_is_refused(adapters):
    (adapters / CONFIG).write_text("[" * 200_000)
    with pytest.raises(TeacherError, match=CONFIG):
        read_adapters(adapters, TASK_ADAPTERS)


@fuzz
@given(st.floats(0, 1, exclude_max=True))
def test_a_weight_file_that_is_cut_off_is_refused(tiny_v4, adapters, share):
    whole = (tiny_v4 / "adapters" / WEIGHTS).read_bytes()
    (adapters / WEIGHTS).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(TeacherError, match=WEIGHTS):
        read_adapters(adapters, TASK_ADAPTERS)


@fuzz
@given(st.integers(0, 8000), st.binary(min_size=1, max_size=8))
def test_a_damaged_weight_file_is_read_or_refused(tiny_v4, adapters, place, content):
    whole = bytearray((tiny_v4 / "adapters" / WEIGHTS).read_bytes())
    whole[place : place + len(content)] = content
    (adapters / WEIGHTS).write_bytes(whole)
    refused_or_read(adapters)
