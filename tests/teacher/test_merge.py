import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unbraid.errors import DataError, TeacherError
from unbraid.teacher import load
from unbraid.teacher import merge as merging
from unbraid.teacher.merge import DIFFERENCE, _samples, compare, merge
from unbraid.teacher.qwen import PUBLISHED, TASK_ADAPTERS
from unbraid.teacher.tiny import write_tiny_checkpoint

TASKS = {"retrieval": "query", "text-matching": "symmetric", "code": "code"}


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Path:
    """The tiny checkpoint with float32 weights: merging it rounds nothing."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("exact"), dtype=torch.float32)


@pytest.fixture(scope="module")
def merged(exact, tmp_path_factory) -> Path:
    """The merge of "code"."""
    return merge(exact, "code", tmp_path_factory.mktemp("merged") / "code", device="cpu").folder


def base_of(folder: Path) -> dict[str, torch.Tensor]:
    shards = [load_file(path) for path in sorted(folder.glob("model-*.safetensors"))]
    return {key: tensor for shard in shards for key, tensor in shard.items() if "projector" not in key}


def adapter_of(folder: Path, task: str) -> dict[tuple[str, str], torch.Tensor]:
    """Module under its base name, and side -> tensor."""
    found = {}
    for key, tensor in load_file(folder / "adapters/adapter_model.safetensors").items():
        module, _, rest = key.removeprefix("base_model.model.").partition(".lora_")
        if rest[2:] == f"{task}.weight":
            found[module.replace("model.language_model.", "model."), rest[0]] = tensor
    return found


@pytest.mark.parametrize("task", TASK_ADAPTERS)
def test_a_merge_has_the_vectors_of_the_unmerged_teacher(exact, tmp_path, task):
    found = merge(exact, task, tmp_path / "out", device="cpu")
    assert found.difference <= DIFFERENCE and found.cosine > 0.99999
    record = json.loads((tmp_path / "out" / "merge.json").read_text())
    assert record["task"] == task and record["largest difference"] == found.difference
    assert record["revision"] == load(exact, device="cpu").about["revision"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # nothing is left behind


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bfloat16_merge_stays_bfloat16_and_close(tiny_v4, tmp_path, dtype):
    found = merge(tiny_v4, "code", tmp_path / "out", device="cpu", dtype=dtype)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert 0.999 < found.cosine and found.difference > DIFFERENCE
    base, adapter = base_of(tiny_v4), adapter_of(tiny_v4, "code")
    key = "model.layers.1.mlp.down_proj"
    summed = base[f"{key}.weight"].float() + adapter[key, "B"].float() @ adapter[key, "A"].float()
    assert torch.equal(weights[f"{key}.weight"], summed.bfloat16())


def test_the_weights_are_the_base_with_every_layers_sum(exact, merged):
    base, weights = base_of(exact), load_file(merged / "model.safetensors")
    adapter = adapter_of(exact, "code")
    assert weights.keys() == base.keys()  # the old names, and no projector
    changed = {f"{module}.weight" for module, _ in adapter} - {"multi_vector_projector.weight"}
    assert len(changed) == 2 * 7
    for key, tensor in weights.items():
        expected = base[key]
        if key in changed:
            module = key.removesuffix(".weight")
            expected = expected + adapter[module, "B"] @ adapter[module, "A"]
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=0)


def test_a_scaling_other_than_one_is_applied(exact, tmp_path):
    folder = Path(shutil.copytree(exact, tmp_path / "scaled"))
    path = folder / "adapters/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 2}))
    assert merge(folder, "retrieval", tmp_path / "out", device="cpu").difference <= DIFFERENCE
    base, adapter = base_of(folder), adapter_of(folder, "retrieval")
    key = "model.layers.0.self_attn.q_proj"
    expected = base[f"{key}.weight"] + 0.5 * adapter[key, "B"] @ adapter[key, "A"]
    torch.testing.assert_close(load_file(tmp_path / "out/model.safetensors")[f"{key}.weight"], expected)


def test_the_settings_are_those_of_a_plain_model_with_explicit_pixels(exact, tmp_path):
    merge(exact, "code", tmp_path / "out", device="cpu", max_pixels=28 * 28 * 40)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]
    assert config["model_type"] == "qwen2_5_vl" and config["tie_word_embeddings"] is True
    images = json.loads((tmp_path / "out/preprocessor_config.json").read_text())
    assert images["size"] == {"shortest_edge": 3136, "longest_edge": 28 * 28 * 40}
    assert (images["min_pixels"], images["max_pixels"]) == (3136, 28 * 28 * 40)
    for path in (tmp_path / "out").glob("*config.json"):
        assert "Jina" not in path.read_text() and "auto_map" not in path.read_text()
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (exact / name).read_bytes()


def test_a_client_that_pools_as_described_gets_the_teachers_vectors(exact, merged):
    """What the module's text asks of a vLLM client, done with the stock classes on the merged folder."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(merged, dtype=torch.float32).model.eval()
    processor = AutoProcessor.from_pretrained(merged)
    assert type(model).__name__ == "Qwen2_5_VLModel"
    text, picture = "a lighthouse", _samples()[-1]
    expected = load(exact, device="cpu").encode([text, picture], "code")

    sent = processor(text=["Query: " + text], return_tensors="pt")
    with torch.inference_mode():
        rows = model(**sent).last_hidden_state[0]
    vector = rows.sum(0) / len(rows)
    np.testing.assert_allclose(vector / vector.norm(), expected[0], atol=DIFFERENCE)

    sent = processor(text=[PUBLISHED.image_prompt], images=[picture], return_tensors="pt")
    ids = sent["input_ids"][0].tolist()
    config = model.config
    start, end = ids.index(config.vision_start_token_id), ids.index(config.vision_end_token_id)
    with torch.inference_mode():
        rows = model(**sent).last_hidden_state[0][start : end + 1]
    vector = rows.sum(0) / len(rows)
    np.testing.assert_allclose(vector / vector.norm(), expected[1], atol=DIFFERENCE)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_merge_of_another_adapter_is_refused_and_nothing_is_left(
    exact, tiny_v4, tmp_path, monkeypatch, dtype
):
    plan = merging._plan
    monkeypatch.setattr(merging, "_plan", lambda tensors, adapters, task: plan(tensors, adapters, "code"))
    source = exact if dtype == "float32" else tiny_v4
    with pytest.raises(TeacherError, match="the merged model gives other vectors.*nothing was written"):
        merge(source, "retrieval", tmp_path / "out", device="cpu", dtype=getattr(torch, dtype))
    assert not any(tmp_path.iterdir())


def test_a_merge_that_adds_nothing_is_refused(exact, tmp_path, monkeypatch):
    plan = merging._plan

    def nothing(*arguments):
        return {key: (stored, None) for key, (stored, _) in plan(*arguments).items()}

    monkeypatch.setattr(merging, "_plan", nothing)
    with pytest.raises(TeacherError, match="gives other vectors"):
        merge(exact, "retrieval", tmp_path / "out", device="cpu")


def test_vectors_that_are_not_finite_do_not_compare():
    with pytest.raises(TeacherError, match="differ by nan"):
        compare(np.ones((1, 1)), np.full((1, 1), np.nan), exact=True)


def test_an_earlier_merge_is_replaced(exact, merged, tmp_path):
    out = Path(shutil.copytree(merged, tmp_path / "out"))
    before = (out / "model.safetensors").read_bytes()
    merge(exact, "retrieval", out, device="cpu")
    assert json.loads((out / "merge.json").read_text())["task"] == "retrieval"
    assert (out / "model.safetensors").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_merge_stays_when_the_new_one_fails(exact, merged, tmp_path, monkeypatch):
    out = Path(shutil.copytree(merged, tmp_path / "out"))
    before = (out / "model.safetensors").read_bytes()
    monkeypatch.setattr(merging, "_write_settings", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        merge(exact, "retrieval", out, device="cpu")
    assert (out / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled(exact, tmp_path):
    (tmp_path / "out").mkdir()
    assert merge(exact, "code", tmp_path / "out", device="cpu").folder == tmp_path / "out"


@pytest.mark.parametrize("names", [["notes.txt"], ["config.json"], ["merge.json", "notes.txt"]])
def test_a_folder_of_something_else_is_not_overwritten(exact, tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match="holds something else than a merged teacher: it is not overwritten"):
        merge(exact, "code", tmp_path, device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_file_is_not_overwritten(exact, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        merge(exact, "code", tmp_path / "out", device="cpu")


def test_a_task_that_is_no_adapter_is_refused_with_the_known_ones(exact, tmp_path):
    with pytest.raises(DataError, match="no adapter 'query': expected one of retrieval, text-matching, code"):
        merge(exact, "query", tmp_path / "out")


def test_a_full_disk_is_noticed_before_writing(exact, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(TeacherError, match=r"merged weights take [\d,]+ bytes, 10 are free"):
        merge(exact, "code", tmp_path / "out", device="cpu")
    assert not any(tmp_path.iterdir())
