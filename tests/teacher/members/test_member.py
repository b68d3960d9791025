from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unbraid import Code
from unbraid.errors import DataError, ItemError, TeacherError
from unbraid.teacher.member import load_member
from unbraid.teacher.member_source import member_weights
from unbraid.teacher.member_spec import E5, MEMBERS, MPNET, member_spec, stored_route_of, stored_routes
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
    return load_member(SPEC, folder)


def states(member, ids):
    with torch.inference_mode():
        return member.model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def test_a_vector_is_the_mean_over_prompt_and_text(member):
    ids = [2, 4, 6, 9, 10, 3]  # <s> query : the cat </s>
    expected = torch.nn.functional.normalize(states(member, ids).mean(0), dim=0)
    assert member.encode(["the cat"], "query")[0] == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize(("pooling", "place"), [("cls", 0), ("last", -1)])
def test_pooling_by_one_token(folder, pooling, place):
    member = load_member(replace(SPEC, pooling=pooling), folder)
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
    split = load_member(replace(SPEC, splits_code=True), folder)
    whole = load_member(SPEC, folder)
    code = Code("getName")
    assert np.array_equal(split.encode([code], "query"), split.encode([Code("get Name")], "query"))
    assert not np.allclose(whole.encode([code], "query"), whole.encode([Code("get Name")], "query"))


def test_an_architecture_of_another_kind_loads_too(tmp_path):
    member = load_member(replace(MPNET, dim=16, max_tokens=8), write_member(tmp_path, "mpnet"))
    vectors = member.encode(["the cat", "sat"], "query")
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_bfloat16_is_close_and_has_another_id(folder, member):
    other = load_member(SPEC, folder, dtype=torch.bfloat16)
    assert (other.encode(["the cat sat"], "query") * member.encode(["the cat sat"], "query")).sum() > 0.99
    assert other.id != member.id and other.about["dtype"] == "bfloat16"


def test_what_decides_a_vector_is_in_about(member):
    assert member.about["prompts"]["query"] == ["query: ", "query: "]
    assert {"member", "model", "revision", "max_tokens", "pooling", "splits_code", "dtype"} < set(
        member.about
    )


def test_refusals_say_what_was_found(folder, member, tmp_path):
    with pytest.raises(TeacherError, match="vectors have 16 dimensions, expected 384"):
        load_member(E5, folder)
    with pytest.raises(TeacherError, match="no config.json here"):
        load_member(SPEC, tmp_path)
    with pytest.raises(DataError, match="dtype is float16"):
        load_member(SPEC, folder, dtype=torch.float16)
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
        load_member(SPEC, tmp_path)


def test_two_stored_vectors_answer_every_task_of_e5():
    assert stored_routes(E5.routes) == {"query": "query", "passage": "document"}
    assert stored_route_of(E5.routes, "code", "text") == "query"
    assert stored_route_of(E5.routes, "code", "code") == "passage"
    assert stored_route_of(E5.routes, "symmetric", "code") == "query"


def test_a_member_without_prompts_has_one_stored_vector():
    assert stored_routes(MPNET.routes) == {"plain": "query"}


def test_routes_of_different_adapters_are_all_stored():
    assert set(stored_routes(JINA_V4)) == {"retrieval.query", "retrieval.passage", "text-matching", "code"}


def test_the_hub_gives_a_member_at_its_pinned_commit(folder):
    asked = []

    def fetch(hub_id, revision):
        asked.append((hub_id, revision))
        return folder, revision

    found, revision = member_weights(MEMBERS["mpnet"], fetch=fetch)
    assert asked == [("sentence-transformers/all-mpnet-base-v2", MPNET.revision)]
    assert (found, revision) == (folder, MPNET.revision) and len(revision) == 40


def test_an_unknown_member_is_named():
    with pytest.raises(DataError, match="unknown member 'gtr': expected one of e5, mpnet, minilm"):
        member_spec("gtr")
