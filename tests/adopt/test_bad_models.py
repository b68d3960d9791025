"""Models that cannot become a bundle are refused by a message that names the file or module; nothing is left behind."""

import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adopt.conftest import WIDTH
from unbraid.adopt import adopt, model_files
from unbraid.errors import AdoptError


@pytest.fixture
def refuses(tmp_path):
    """`refuses(model, *words, **options)`: adopting it raises, and the message holds the words."""

    def check(model, *words, **options):
        with pytest.raises(AdoptError) as raised:
            adopt(model, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
        for word in words:
            assert word in str(raised.value)

    return check


def test_no_folder_and_no_hub_id(refuses):
    refuses("nothing-here", "nothing-here", "org/name")


def test_a_folder_of_something_else(tmp_path, refuses):
    refuses(tmp_path, "modules.json", "config.json")


def test_a_revision_of_a_folder(bert, refuses):
    refuses(bert, "--revision", revision="main")


def test_a_module_of_the_models_own(published, copy_of, refuses):
    folder = copy_of(published)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "custom_st.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    refuses(folder, "modules.json", "custom_st.Pooling", "remote code")


def test_a_module_that_is_not_known(published, copy_of, refuses):
    folder = copy_of(published)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.CNN"
    (folder / "modules.json").write_text(json.dumps(modules))
    refuses(folder, "modules.json", "models.CNN")


def test_a_module_that_leaves_the_folder(published, copy_of, refuses):
    folder = copy_of(published)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../1_Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    refuses(folder, "modules.json", "leaves the model's folder")


@pytest.mark.parametrize("content", ["", "[]", "{}", '["x"]', "nonsense", '[{"idx": 0}]'])
def test_a_list_of_modules_that_is_none(content, published, copy_of, refuses):
    folder = copy_of(published)
    (folder / "modules.json").write_text(content)
    refuses(folder, "modules.json")


def test_an_architecture_that_is_the_models_own_code(bert, copy_of, edit, refuses):
    folder = copy_of(bert)
    edit(folder / "config.json", model_type="new", auto_map={"AutoModel": "modeling.NewModel"})
    refuses(folder, "config.json", "'new'", "remote code", pooling="mean")


def test_a_missing_module(published, copy_of, refuses):
    folder = copy_of(published)
    shutil.rmtree(folder / "1_Pooling")
    refuses(folder, "1_Pooling")


def test_a_pooling_that_nobody_knows(published, copy_of, edit, refuses, bert):
    folder = copy_of(published)
    edit(folder / "1_Pooling" / "config.json", pooling_mode="median")
    refuses(folder, "1_Pooling", "median", "mean")
    refuses(bert, "median", "mean", pooling="median")


def test_an_encoder_without_a_pooling(bert, refuses):
    refuses(bert, "--pooling", "mean")


def test_a_pooling_for_a_model_that_has_its_own(published, refuses):
    refuses(published, "--pooling", pooling="cls")


def test_weights_that_are_missing_or_cut_off(published, copy_of, refuses):
    folder = copy_of(published)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refuses(folder, "model.safetensors")
    weights.unlink()
    refuses(folder, "model.safetensors", "not found")


def test_weights_that_lack_a_tensor(published, copy_of, refuses):
    folder = copy_of(published)
    tensors = load_file(folder / "model.safetensors")
    name = next(one for one in tensors if "query.weight" in one)
    save_file({one: value for one, value in tensors.items() if one != name}, folder / "model.safetensors")
    refuses(folder, "query.weight")


class _Hostile:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_pickled_weights_only_where_they_are_allowed(published, copy_of, refuses, tmp_path):
    folder = copy_of(published)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refuses(folder, "pytorch_model.bin", "--allow-pickle")
    assert adopt(folder, tmp_path / "allowed", allow_pickle=True).dim == WIDTH


@pytest.mark.parametrize("name", ["model_args", "model_kwargs"])
def test_settings_do_not_choose_pickled_weights(name, published, copy_of, edit, refuses, tmp_path):
    folder = copy_of(published)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": _Hostile(tmp_path / "was here")}))
    edit(folder / "sentence_bert_config.json", **{name: {"use_safetensors": False}})
    assert adopt(folder, tmp_path / "safe").dim == WIDTH
    assert not (tmp_path / "was here").exists()
    edit(folder / "sentence_bert_config.json", **{name: {"gguf_file": "x", "variant": "y"}})
    refuses(folder, "sentence_bert_config.json", f"{name} has gguf_file, variant", "known are", "dtype")
    edit(folder / "sentence_bert_config.json", **{name: ["x"]})
    refuses(folder, "sentence_bert_config.json", "expected a JSON object")


def test_weights_of_another_name_are_not_read(bert, copy_of, edit, refuses):
    folder = copy_of(bert)
    edit(folder / "config.json", transformers_weights="adapter_model.bin")
    refuses(folder, "config.json", "adapter_model.bin", "rename", pooling="mean")


def test_a_processor_of_the_models_own_code_runs_none_and_asks_nothing(bert, copy_of, refuses, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    folder = copy_of(bert)
    about = {"processor_class": "Own", "auto_map": {"AutoProcessor": "own.Own"}}
    (folder / "processor_config.json").write_text(json.dumps(about))
    (folder / "own.py").write_text("raise SystemExit")
    refuses(folder, str(folder), "auto_map", "remote code", pooling="mean")


def test_a_pickle_that_runs_code_runs_none(published, copy_of, refuses, tmp_path):
    folder = copy_of(published)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": _Hostile(tmp_path / "was here")}))
    refuses(folder, str(folder), allow_pickle=True)
    torch.save({"x": _Hostile(tmp_path / "was here")}, folder / "pytorch_model.bin")
    refuses(folder, str(folder), allow_pickle=True)
    assert not (tmp_path / "was here").exists()


def test_a_model_that_cuts_the_start_of_a_text_is_refused_whatever_the_sample(
    published, copy_of, edit, refuses
):
    folder = copy_of(published)
    edit(folder / "tokenizer_config.json", truncation_side="left")
    refuses(folder, "other tokens", sample=[f"the cat number {number}" for number in range(60)])


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({"query": 3}, ["'query'", "is 3", "a text"]),
        ({"document": ["x"]}, ["'document'", "['x']", "a text"]),
        (["query: "], ["['query: ']", "an object of prompts by name"]),
    ],
)
def test_prompts_that_are_no_texts(prompts, words, published, copy_of, edit, refuses):
    folder = copy_of(published)
    settings = folder / "config_sentence_transformers.json"
    edit(settings, prompts=prompts)
    refuses(folder, settings.name, *words)


def test_prompts_of_no_task_of_ours(published, copy_of, edit, refuses, tmp_path):
    folder = copy_of(published)
    settings = folder / "config_sentence_transformers.json"
    edit(settings, prompts={"query": "query: ", "clustering": "cluster: "})
    refuses(folder, settings.name, "'clustering'", "query:", "passage", "--prompt")
    refuses(folder, "query=none", prompts={"query": "none"})
    refuses(folder, "swim=query", prompts={"swim": "query"})


def test_a_sparse_model(published, copy_of, edit, refuses):
    folder = copy_of(published)
    edit(folder / "config_sentence_transformers.json", model_type="SparseEncoder")
    refuses(folder, "config_sentence_transformers.json", "SparseEncoder")


def test_an_adapter(bert, copy_of, refuses):
    folder = copy_of(bert)
    (folder / "adapter_config.json").write_text("{}")
    refuses(folder, "adapter_config.json", "merge", pooling="mean")


def test_more_than_1024_dimensions(transformer, save, refuses):
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling

    folder = save(transformer(), Pooling(WIDTH, "mean"), Dense(WIDTH, 1500))
    refuses(folder, "1,500", "--dim 512")


@pytest.mark.parametrize("dim", [WIDTH, 2000])
def test_a_dim_that_is_no_cut(dim, published, refuses):
    refuses(published, f"--dim {dim}", dim=dim)


def test_a_model_of_seven_billion_parameters_is_refused_before_a_weight_is_read(bert, copy_of, refuses):
    folder = copy_of(bert)
    header = {"w": {"dtype": "BF16", "shape": [7_000_000, 1000], "data_offsets": [0, 14_000_000_000]}}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").unlink()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 14_000_000_000)  # a hole: no disk is used
    refuses(folder, "7,000 million", "28.0 GB", "112.0 GB of memory", pooling="mean")


def test_an_index_tells_before_its_files_are_fetched(tmp_path):
    index = {
        "metadata": {"total_size": 14_000_000_000},
        "weight_map": {"w": "model-00001-of-00002.safetensors"},
    }
    (tmp_path / model_files.INDEX).write_text(json.dumps(index))
    with pytest.raises(AdoptError, match="7,000 million"):
        model_files.check_memory(tmp_path)


def _weights(path, numbers):
    """A safetensors file with a hole of `numbers` 16-bit numbers."""
    header = {"w": {"dtype": "BF16", "shape": [numbers], "data_offsets": [0, 2 * numbers]}}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 2 * numbers)


def test_the_weights_of_open_clip_count_and_those_beside_them_do_not(tmp_path, monkeypatch):
    import psutil

    (tmp_path / "open_clip_config.json").write_text("{}")
    _weights(tmp_path / "open_clip_model.safetensors", 700_000_000)
    _weights(tmp_path / "model.safetensors", 700_000_000)
    assert model_files.count_numbers(tmp_path) == 700_000_000
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 10**9}))
    with pytest.raises(AdoptError, match="700 million .* 1.0 GB are free"):
        model_files.check_memory(tmp_path)
    # Each tower has a graph of its own.
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 10**11}))
    model_files.check_memory(tmp_path)


def test_a_model_that_does_not_fit_the_memory(published, monkeypatch, refuses):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 1000})())
    refuses(published, "0.0 GB are free")


def test_a_folder_that_is_no_bundle_is_not_replaced(published, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Exception, match="no bundle"):
        adopt(published, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
