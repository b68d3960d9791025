"""The published teacher against a second implementation, written out on the tensors of the checkpoint's files.

`Plain` is one item at a time, one adapter, no padding, in float64, and calls nothing of transformers: what the
stock classes, peft, the batches and the pooling do together has to come out of it.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from unbraid import Code
from unbraid.errors import DataError, ImageError, ItemError, TeacherError
from unbraid.teacher import load, qwen
from unbraid.teacher.inputs import Batch, collate
from unbraid.teacher.pooling import mean_vector
from unbraid.teacher.qwen import PUBLISHED, QwenReader, load_jina_v4, read_config
from unbraid.teacher.routes import JINA_V4, TASKS
from unbraid.teacher.tiny import PLAIN_TOKENS, SPECIAL_TOKENS, write_tiny_checkpoint

TOLERANCE = 1e-5  # float32 against float64, over 3 + 2 layers
PROMPTS = {"query": "Query: ", "document": "Passage: ", "symmetric": "Query: ", "code": "Query: "}
ADAPTERS = {"query": "retrieval", "document": "retrieval", "symmetric": "text-matching", "code": "code"}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64)


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Noise whose sides are multiples of 28, so that it is not resized."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


ITEMS = {
    "text": "the house by the river is red",
    "long text": "Größe 猫 🎉 naïve " * 12,
    "code": Code("def search(self, query): return self.index"),
    "wide picture": picture(56, 140),
    "high picture": picture(168, 84, seed=1),
    "smallest picture": picture(56, 56, seed=2),
}


class Plain:
    """The model as arithmetic on the checkpoint's tensors."""

    def __init__(self, folder: Path, adapter: str) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.text, self.vision = self.config["text_config"], self.config["vision_config"]
        shards = [load_file(path) for path in sorted(folder.glob("model-*.safetensors"))]
        self.weights = {key: tensor.double() for shard in shards for key, tensor in shard.items()}
        about = json.loads((folder / "adapters/adapter_config.json").read_text())
        self.scaling = about["lora_alpha"] / about["r"]
        self.adapter = adapter
        self.lora = {
            key: tensor.double()
            for key, tensor in load_file(folder / "adapters/adapter_model.safetensors").items()
        }
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def linear(self, x, name):
        y = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def adapted(self, x, name):
        module = name.replace("model.layers", "model.language_model.layers")
        a, b = (
            self.lora[f"base_model.model.{module}.lora_{side}.{self.adapter}.weight"] for side in ("A", "B")
        )
        return self.linear(x, name) + (x @ a.T @ b.T) * self.scaling

    def norm(self, x, name, eps=1e-6):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * self.weights[f"{name}.weight"]

    @staticmethod
    def silu(x):
        return x / (1 + torch.exp(-x))

    @staticmethod
    def rotate(x, angles):
        """x [T, heads, D] turned by angles [T, D / 2]: dimension i with dimension i + D / 2."""
        first, second = x.chunk(2, -1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    @staticmethod
    def attend(q, k, v, allowed):
        scores = torch.einsum("ihd,jhd->hij", q, k) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~allowed, -torch.inf)
        weight = torch.exp(scores - scores.max(-1, keepdim=True).values)
        return torch.einsum("hij,jhd->ihd", weight / weight.sum(-1, keepdim=True), v).flatten(1)

    def patches(self, image: Image.Image):
        """Numbers of each patch, and its row and column: 2 x 2 blocks of patches beside each other."""
        pixels = (torch.from_numpy(np.array(image)).double() / 255 - MEAN) / STD
        size = self.vision["patch_size"]
        rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
        found, places = [], []
        for r in range(0, rows, 2):
            for c in range(0, columns, 2):
                for row, column in ((r, c), (r, c + 1), (r + 1, c), (r + 1, c + 1)):
                    cut = pixels[row * size : (row + 1) * size, column * size : (column + 1) * size]
                    frames = cut.permute(2, 0, 1)[:, None].expand(-1, 2, -1, -1)  # a still, twice
                    found.append(frames.flatten())
                    places.append((row, column))
        return torch.stack(found), torch.tensor(places)

    def image_tokens(self, image: Image.Image):
        """One vector for each 2 x 2 patches, and how many rows and columns of them there are."""
        numbers, places = self.patches(image)
        heads = self.vision["num_heads"]
        head = self.vision["hidden_size"] // heads
        x = numbers @ self.weights["visual.patch_embed.proj.weight"].flatten(1).T
        frequencies = 10000.0 ** -(torch.arange(0, head // 2, 2, dtype=torch.float64) / (head // 2))
        angles = torch.cat([places[:, :1] * frequencies, places[:, 1:] * frequencies], -1)
        # A window is a square of window_size pixels, counted from the upper left corner.
        window = places // (self.vision["window_size"] // self.vision["patch_size"])
        together = (window[:, None] == window[None]).all(-1)
        for i in range(self.vision["depth"]):
            block = f"visual.blocks.{i}"
            whole = i in self.vision["fullatt_block_indexes"]
            qkv = self.linear(self.norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
            q, k, v = (part.unflatten(-1, (heads, head)) for part in qkv.chunk(3, -1))
            allowed = torch.ones_like(together) if whole else together
            turned = self.attend(self.rotate(q, angles), self.rotate(k, angles), v, allowed)
            x = x + self.linear(turned, f"{block}.attn.proj")
            y = self.norm(x, f"{block}.norm2")
            gate = self.silu(self.linear(y, f"{block}.mlp.gate_proj"))
            x = x + self.linear(gate * self.linear(y, f"{block}.mlp.up_proj"), f"{block}.mlp.down_proj")
        y = self.linear(
            self.norm(x, "visual.merger.ln_q").unflatten(0, (-1, 4)).flatten(1), "visual.merger.mlp.0"
        )
        y = y * (1 + torch.erf(y / 2**0.5)) / 2
        rows, columns = ((places.max(0).values + 1) // 2).tolist()
        return self.linear(y, "visual.merger.mlp.2"), rows, columns

    @staticmethod
    def positions(before: int, rows: int, columns: int, after: int):
        """Time, height and width of each token: text counts on in all three, and after a picture from its side."""
        text = [(p, p, p) for p in range(before)]
        image = [(before, before + r, before + c) for r in range(rows) for c in range(columns)]
        start = before + max(rows, columns)
        return torch.tensor([*text, *image, *((p, p, p) for p in range(start, start + after))])

    def states(self, x, positions):
        """The last layer's output of tokens x [T, H] at positions [T, 3]."""
        heads, shared = self.text["num_attention_heads"], self.text["num_key_value_heads"]
        head = self.text["hidden_size"] // heads
        frequencies = 1e6 ** -(torch.arange(0, head, 2, dtype=torch.float64) / head)
        kind = torch.tensor(
            [0] * 2 + [1] * 3 + [2] * 3
        )  # mrope_section: which position turns which dimension
        angles = positions[:, kind] * frequencies
        allowed = torch.ones(len(x), len(x)).tril().bool()
        for i in range(self.text["num_hidden_layers"]):
            layer = f"model.layers.{i}"
            y = self.norm(x, f"{layer}.input_layernorm")
            q = self.adapted(y, f"{layer}.self_attn.q_proj").unflatten(-1, (heads, head))
            k = self.adapted(y, f"{layer}.self_attn.k_proj").unflatten(-1, (shared, head))
            v = self.adapted(y, f"{layer}.self_attn.v_proj").unflatten(-1, (shared, head))
            k, v = (part.repeat_interleave(heads // shared, 1) for part in (self.rotate(k, angles), v))
            x = x + self.adapted(
                self.attend(self.rotate(q, angles), k, v, allowed), f"{layer}.self_attn.o_proj"
            )
            y = self.norm(x, f"{layer}.post_attention_layernorm")
            gate = self.silu(self.adapted(y, f"{layer}.mlp.gate_proj"))
            x = x + self.adapted(gate * self.adapted(y, f"{layer}.mlp.up_proj"), f"{layer}.mlp.down_proj")
        return self.norm(x, "model.norm")

    def vectors(self, item, prompt: str):
        """The single vector [H] and the multi-vector [T, 128] of one item."""
        words = self.weights["model.embed_tokens.weight"]
        if isinstance(item, Image.Image):
            image, rows, columns = self.image_tokens(item)
            whole = "<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * len(image)
            ids = self.tokenizer.encode(whole + "<|vision_end|>Describe the image.<|im_end|>\n").ids
            first = ids.index(self.config["image_token_id"])
            x = words[torch.tensor(ids)].clone()
            x[first : first + len(image)] = image
            after = len(ids) - first - len(image)
            states = self.states(x, self.positions(first, rows, columns, after))
            pooled = states[first - 1 : first + len(image) + 1]
        else:
            ids = self.tokenizer.encode(prompt + item).ids
            states = self.states(words[torch.tensor(ids)], self.positions(len(ids), 0, 0, 0))
            pooled = states
        single, multi = pooled.mean(0), self.adapted(states, "multi_vector_projector")
        return single / single.norm(), multi / multi.norm(dim=-1, keepdim=True)


@pytest.fixture(scope="module")
def teacher(tiny_v4):
    return load(tiny_v4, device="cpu")


@pytest.fixture(scope="module")
def plain(tiny_v4):
    return {adapter: Plain(tiny_v4, adapter) for adapter in set(ADAPTERS.values())}


@pytest.fixture
def broken(tiny_v4, tmp_path):
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_v4, tmp_path / "broken"))


def change_shard(folder: Path, change) -> None:
    """Let `change` alter the tensors of the second shard, and keep the index right."""
    path, index = folder / "model-00002-of-00002.safetensors", folder / "model.safetensors.index.json"
    tensors = load_file(path)
    written = json.loads(index.read_text())
    for key in tensors:
        del written["weight_map"][key]
    change(tensors)
    written["weight_map"] |= dict.fromkeys(tensors, path.name)
    save_file(tensors, path)
    index.write_text(json.dumps(written))


def change_json(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ITEMS)
def test_single_vectors_are_those_of_the_plain_implementation(teacher, plain, task, name):
    prompt = "Passage: " if (task, name) == ("code", "code") else PROMPTS[task]
    expected, _ = plain[ADAPTERS[task]].vectors(ITEMS[name], prompt)
    np.testing.assert_allclose(teacher.encode([ITEMS[name]], task)[0], expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ITEMS)
def test_multi_vectors_are_those_of_the_plain_implementation(teacher, plain, task, name):
    prompt = "Passage: " if (task, name) == ("code", "code") else PROMPTS[task]
    _, expected = plain[ADAPTERS[task]].vectors(ITEMS[name], prompt)
    found = teacher.encode([ITEMS[name]], task, multi_vector=True)[0]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


def test_a_scaling_other_than_one_is_applied(broken, plain):
    change_json(broken / "adapters/adapter_config.json", lora_alpha=2)
    expected, _ = Plain(broken, "retrieval").vectors(ITEMS["text"], "Query: ")
    found = load(broken, device="cpu").encode([ITEMS["text"]], "query")[0]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)
    assert abs(expected - plain["retrieval"].vectors(ITEMS["text"], "Query: ")[0]).max() > 0.01


def test_positions_lost_on_the_way_would_be_noticed(teacher, plain, monkeypatch):
    """What happens when mm_token_type_ids are forgotten: the model takes one-dimensional positions."""
    base = teacher.model.model
    monkeypatch.setattr(base, "get_rope_index", lambda **_: (None, None))
    expected, _ = plain["retrieval"].vectors(ITEMS["wide picture"], "")
    assert abs(teacher.encode([ITEMS["wide picture"]], "query")[0] - expected.numpy()).max() > 100 * TOLERANCE


def test_order_company_and_mixed_tasks_change_nothing(teacher):
    items = list(ITEMS.values())
    tasks = [TASKS[i % 4] for i in range(len(items))]
    mixed = teacher.encode(items, tasks)
    turned = teacher.encode(items[::-1], tasks[::-1])[::-1]
    alone = np.concatenate([teacher.encode([one], task) for one, task in zip(items, tasks, strict=True)])
    np.testing.assert_allclose(mixed, alone, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(turned, alone, atol=TOLERANCE, rtol=0)
    several = teacher.encode(items, tasks, multi_vector=True)
    for tokens, one, task in zip(several, items, tasks, strict=True):
        expected = teacher.encode([one], task, multi_vector=True)[0]
        np.testing.assert_allclose(tokens, expected, atol=TOLERANCE, rtol=0)


def turn_to_left(batch: Batch) -> Batch:
    """The same batch, padded on the left."""

    def turned(rows):
        return torch.stack([row.roll(-int(mask.sum())) for row, mask in zip(rows, batch.mask, strict=True)])

    return Batch(turned(batch.ids), turned(batch.mask), turned(batch.pooled), batch.patches, batch.grids)


@pytest.mark.parametrize("name", ["wide picture", "high picture"])
def test_tokens_are_counted_as_they_are_read(teacher, name):
    item = ITEMS[name]
    assert teacher.reader.picture_tokens(*item.size) == len(teacher.reader.read_picture(item).ids)
    texts = [ITEMS["text"], ITEMS["long text"]]
    read = teacher.reader.read_texts(texts, [JINA_V4["document"]] * 2)
    assert teacher.count_tokens(texts, "document", [0, 1]) == [len(one.ids) for one in read]


@pytest.mark.parametrize("names", [("text", "long text"), ("wide picture", "high picture")])
def test_the_side_of_the_padding_changes_nothing(teacher, names):
    items = [ITEMS[name] for name in names]
    if isinstance(items[0], str):
        inputs = teacher.reader.read_texts(items, [JINA_V4["query"]] * 2)
    else:
        inputs = [teacher.reader.read_picture(item) for item in items]
    right = collate(inputs)
    left = turn_to_left(right)
    assert not left.mask[:, 0].all() and left.mask[:, -1].all() and not right.mask[:, -1].all()
    with torch.inference_mode():
        teacher.gate.set(["retrieval"] * 2, right.ids.device, torch.float32)
        vectors = [mean_vector(teacher.model(one, False).hidden, one.pooled) for one in (left, right)]
    np.testing.assert_allclose(*vectors, atol=TOLERANCE, rtol=0)


def test_positions_of_a_picture_are_the_published_example(teacher):
    expected = [[0, 1, 2, 2, 2, 2, 4, 5, 6], [0, 1, 2, 2, 3, 3, 4, 5, 6], [0, 1, 2, 3, 2, 3, 4, 5, 6]]
    kinds = torch.tensor([[0, 0, 1, 1, 1, 1, 0, 0, 0]])
    found, _ = teacher.model.model.get_rope_index(
        input_ids=kinds, mm_token_type_ids=kinds, image_grid_thw=torch.tensor([[1, 4, 4]])
    )
    assert found[:, 0].tolist() == expected
    assert Plain.positions(2, 2, 2, 3).T.tolist() == expected


def test_a_picture_is_read_as_the_published_prompt(teacher, tiny_v4):
    found = teacher.reader.read_picture(ITEMS["wide picture"])
    whole = Tokenizer.from_file(str(tiny_v4 / "tokenizer.json"))
    pads = 2 * 5
    written = PUBLISHED.image_prompt.replace("<|image_pad|>", "<|image_pad|>" * pads)
    assert whole.decode(found.ids, skip_special_tokens=False) == written
    first, end = found.pooled
    marked = whole.decode(found.ids[first:end], skip_special_tokens=False)
    assert marked == "<|vision_start|>" + "<|image_pad|>" * pads + "<|vision_end|>"
    assert found.picture is not None and found.picture.grid == (1, 4, 10)
    assert PUBLISHED.image_prompt_ids.count(151655) == 1 and len(PUBLISHED.image_prompt_ids) == 12


def test_each_route_has_its_prompt(teacher, tiny_v4):
    whole = Tokenizer.from_file(str(tiny_v4 / "tokenizer.json"))
    for task in TASKS:
        text, code = teacher.reader.read_texts(["a", Code("a")], [JINA_V4[task]] * 2)
        assert whole.decode(text.ids) == f"{PROMPTS[task]}a"
        assert whole.decode(code.ids) == ("Passage: a" if task == "code" else f"{PROMPTS[task]}a")
        assert text.pooled == (0, len(text.ids))


@pytest.mark.parametrize("token", [*SPECIAL_TOKENS, *PLAIN_TOKENS])
def test_a_control_token_in_a_text_is_text(teacher, tiny_v4, token):
    whole = Tokenizer.from_file(str(tiny_v4 / "tokenizer.json"))
    text = f"before{token} after {token}"
    (found,) = teacher.reader.read_texts([text], [JINA_V4["query"]])
    assert max(found.ids) < min(whole.token_to_id(one) for one in (*SPECIAL_TOKENS, *PLAIN_TOKENS))
    assert whole.decode(found.ids) == f"Query: {text}"


def test_a_text_full_of_image_pads_has_a_vector(teacher):
    vectors = teacher.encode(["<|vision_start|><|image_pad|><|vision_end|>", ITEMS["wide picture"]], "query")
    assert np.isfinite(vectors).all()


def test_truncating_is_slicing_and_keeps_unit_length(teacher):
    whole = teacher.encode(list(ITEMS.values()), "query")
    assert (teacher.dim, teacher.dims) == (64, (64, 32, 16))
    assert teacher.modalities == ("text", "code", "image")
    for dim in teacher.dims:
        cut = whole[:, :dim] / np.linalg.norm(whole[:, :dim], axis=1, keepdims=True)
        np.testing.assert_allclose(teacher.encode(list(ITEMS.values()), "query", dim=dim), cut, atol=1e-6)
    with pytest.raises(ItemError, match="dim is 20: expected one of 64, 32, 16"):
        teacher.encode(["a"], "query", dim=20)


def test_vectors_are_float32_of_unit_length(teacher):
    items = list(ITEMS.values())
    single, multi = teacher.encode(items, "query"), teacher.encode(items, "query", multi_vector=True)
    assert (single.dtype, single.shape) == (np.float32, (len(items), 64))
    np.testing.assert_allclose(np.linalg.norm(single, axis=1), 1, atol=1e-6)
    for tokens in multi:
        assert tokens.dtype == np.float32 and tokens.shape[1] == 128
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-6)
    assert len(multi[-1]) == len(teacher.reader.read_picture(items[-1]).ids)  # markers and prompt are kept


def test_tasks_differ_from_each_other(teacher):
    vectors = np.stack([teacher.encode(list(ITEMS.values()), task) for task in TASKS])
    for i in range(4):
        for j in range(i):
            cosines = (vectors[i] * vectors[j]).sum(1)
            if {TASKS[i], TASKS[j]} != {"query", "document"}:
                assert (cosines < 0.95).all()
            else:  # one adapter: the prompt alone differs, and pictures have none
                assert (cosines[:3] < 0.999).all() and (cosines[3:] > 0.999).all()


def test_bfloat16_stays_close_to_float32(teacher, tiny_v4):
    half = load(tiny_v4, device="cpu", dtype="bfloat16")
    cosines = (half.encode([*ITEMS.values()], "query") * teacher.encode([*ITEMS.values()], "query")).sum(1)
    assert half.id != teacher.id and half.about["dtype"] == "bfloat16" and cosines.min() > 0.99


def test_eager_attention_gives_the_same(teacher, tiny_v4):
    eager = load(tiny_v4, device="cpu", attention="eager")
    assert eager.about["attention"] == "eager"
    np.testing.assert_allclose(
        eager.encode([*ITEMS.values()], "code"), teacher.encode([*ITEMS.values()], "code"), atol=TOLERANCE
    )


def test_about_and_id_say_what_decides_the_vectors(teacher, broken):
    assert teacher.about == {
        "model": "jina-embeddings-v4",
        "revision": teacher.id.split("-")[3],
        "dtype": "float32",
        "attention": "sdpa",
        "min_pixels": 3136,
        "max_pixels": 602112,
    }
    (broken / "README.md").write_text("text")
    assert load(broken, device="cpu").id == teacher.id
    change_json(broken / "adapters/adapter_config.json", lora_alpha=2)
    assert load(broken, device="cpu").id != teacher.id


# Weights


def drop(key):
    return lambda tensors: tensors.pop(key)


def put(key, *shape):
    return lambda tensors: tensors.update({key: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("model.norm.weight"), r"missing: language_model\.norm\.weight"),
        (drop("visual.blocks.2.attn.qkv.bias"), r"missing: visual\.blocks\.2\.attn\.qkv\.bias"),
        (drop("multi_vector_projector.weight"), r"missing: multi_vector_projector\.weight"),
        (put("model.layers.7.extra.weight", 3), r"unexpected: .*layers\.7\.extra\.weight"),
        (put("single_vector_projector.weight", 3), r"unexpected: .*single_vector_projector\.weight"),
        (
            put("model.norm.weight", 63),
            r"another shape: language_model\.norm\.weight \(63,\) instead of \(64,\)",
        ),
        (put("multi_vector_projector.bias", 64), r"multi_vector_projector\.bias \(64,\) instead of \(128,\)"),
    ],
)
def test_base_weights_that_do_not_fit_are_refused_by_name(broken, change, said):
    change_shard(broken, change)
    with pytest.raises(TeacherError, match=said):
        load(broken, device="cpu")


def test_weights_that_are_not_finite_are_refused_with_the_item(broken):
    change_shard(broken, lambda tensors: tensors["model.norm.weight"].fill_(torch.nan))
    with pytest.raises(TeacherError, match="vector of item 0 is not finite"):
        load(broken, device="cpu").encode(["a", "b"], "query")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "{}", "says no model_type"),
        ("config.json", '{"model_type": "llama"}', "model_type is 'llama': expected bert or qwen2_5_vl"),
        ("config.json", '{"model_type": "qwen2_5_vl", "text_config": 3}', "not a readable configuration"),
        ("preprocessor_config.json", "[", "no readable preprocessor_config.json"),
        ("preprocessor_config.json", '{"patch_size": 16}', "patch_size is 16, but .* expects 14"),
        ("tokenizer.json", "{}", "not a readable tokenizer"),
        ("model.safetensors.index.json", "{}", "not a readable index"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../x"}}', "names of files beside it"),
        ("model-00001-of-00002.safetensors", "", "not a readable safetensors file"),
    ],
)
def test_a_broken_file_is_refused_by_name(broken, name, content, said):
    (broken / name).write_text(content)
    with pytest.raises((TeacherError, DataError), match=f"{name}.*{said}|{said}.*{name}"):
        load(broken, device="cpu")


def test_files_that_the_index_does_not_know_are_refused(broken):
    change_shard(broken, drop("model.norm.weight"))
    index = broken / "model.safetensors.index.json"
    written = json.loads(index.read_text())
    written["weight_map"]["model.norm.weight"] = "model-00002-of-00002.safetensors"
    index.write_text(json.dumps(written))
    with pytest.raises(TeacherError, match=r"model\.norm\.weight is in it, not in its files"):
        load(broken, device="cpu")


def test_a_tokenizer_of_another_model_is_refused(broken):
    change_json(broken / "config.json", vision_end_token_id=7)
    with pytest.raises(TeacherError, match="the image prompt is read as"):
        load(broken, device="cpu")


def test_the_published_ids_are_expected_of_the_published_vocabulary(broken):
    config = read_config(broken)
    config.image_token_id, config.vision_start_token_id, config.vision_end_token_id = 151655, 151652, 151653
    with pytest.raises(TeacherError, match="the image prompt is read as"):
        QwenReader(broken, config, 3136, 602112)


# Items


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_refused_with_its_row(teacher, text):
    with pytest.raises(ItemError, match="item 1 is an empty text"):
        teacher.encode(["a", text], "query")


def test_a_text_that_is_too_long_is_refused_with_both_numbers(teacher, monkeypatch):
    monkeypatch.setattr(teacher.reader, "max_tokens", 9)
    with pytest.raises(ItemError, match=r"item 1 has \d\d tokens, at most 9 fit"):
        teacher.encode(["a", "zzzzzzzzzzzz"], "query")
    assert qwen.MAX_TOKENS == 32768


def test_a_lone_surrogate_is_read(teacher):
    assert np.isfinite(teacher.encode(["a\ud800"], "query")).all()


def test_a_picture_that_is_too_narrow_is_refused_with_its_ratio(teacher, tmp_path):
    path = tmp_path / "narrow.png"
    Image.new("RGB", (1005, 5)).save(path)
    with pytest.raises(ItemError, match=r"item 1: .*narrow\.png: 1005 x 5 is 201 : 1, more than 200 : 1"):
        teacher.encode(["a", path], "query")


def test_a_broken_picture_stops_the_work_before_it_begins(teacher, tmp_path, monkeypatch):
    path = tmp_path / "broken.png"
    path.write_bytes(b"nothing")
    monkeypatch.setattr(teacher.model, "forward", None)
    with pytest.raises(ImageError, match=r"item 2: .*broken\.png"):
        teacher.encode(["a", ITEMS["wide picture"], path], "query")


def test_an_unknown_task_is_refused_with_the_known_ones(teacher):
    with pytest.raises(ItemError, match=r"'retrieval'.*query, document, symmetric, code"):
        teacher.encode(["a"], "retrieval")


def test_pixel_limits_are_the_teachers_own(tiny_v4, broken):
    """preprocessor_config.json says others in every published checkpoint of this model."""
    big, grid = picture(280, 280), lambda reader, item: reader.read_picture(item).picture.grid
    small = load(tiny_v4, device="cpu", max_pixels=28 * 28 * 4)
    assert small.about["max_pixels"] == 28 * 28 * 4 and f"-{28 * 28 * 4}" in small.id
    assert grid(small.reader, big) == (1, 4, 4)
    change_json(
        broken / "preprocessor_config.json",
        max_pixels=28 * 28 * 4,
        size={"shortest_edge": 1, "longest_edge": 28 * 28},
    )
    config = read_config(broken)
    assert grid(QwenReader(broken, config, 3136, 602112), big) == (1, 20, 20)
    assert grid(QwenReader(broken, config, 280 * 280, 602112), picture(56, 56)) == (1, 20, 20)
    assert grid(QwenReader(broken, config, 3136, 602112), picture(1400, 1400)) == (1, 54, 54)  # 729 tokens


# Options


@pytest.mark.parametrize("version", ["5.4.0", "5.5.0", "5.5.3"])
def test_a_transformers_with_wrong_positions_is_refused_by_name(tiny_v4, monkeypatch, version):
    monkeypatch.setattr("transformers.__version__", version)
    with pytest.raises(TeacherError, match=rf"transformers {version} .*pip install 'transformers>=5\.5\.4"):
        load(tiny_v4, device="cpu")


@pytest.mark.parametrize("version", ["4.57.6", "strange"])
def test_a_transformers_of_another_interface_is_refused(monkeypatch, version):
    monkeypatch.setattr("transformers.__version__", version)
    with pytest.raises(TeacherError, match=version):
        qwen.check_transformers()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"dtype": "half"}, DataError, "dtype is 'half': expected one of float32, bfloat16, float16"),
        ({"attention": "fast"}, DataError, "attention is 'fast': expected one of sdpa"),
        (
            {"attention": "flash_attention_2"},
            TeacherError,
            "needs bfloat16 or float16 on cuda, not float32 on cpu",
        ),
        ({"min_pixels": 0}, DataError, "pixel limits are 0 to 602112"),
        ({"max_pixels": 3000}, DataError, "pixel limits are 3136 to 3000"),
        ({"revision": "main"}, DataError, "revision is for hub ids"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(tiny_v4, options, error, said):
    with pytest.raises(error, match=said):
        load(tiny_v4, device="cpu", **options)


@pytest.mark.parametrize("option", [{"max_pixels": 5000}, {"attention": "sdpa"}, {"revision": "main"}])
def test_an_option_that_does_not_apply_is_refused(option):
    with pytest.raises(DataError, match=f"{next(iter(option))} does not apply to the teacher 'minilm'"):
        load("minilm", **option)


@pytest.mark.parametrize("name", ["minilmm", "a/b/c", "", "x" * 5000, "a\0b"])
def test_a_name_that_is_no_teacher_is_refused(name):
    with pytest.raises(DataError, match="expected"):
        load(name)


@pytest.fixture
def hub(monkeypatch):
    """Stands in for the hub; gives the folder put into `place`, and keeps what was asked."""
    asked = {}

    def snapshot_download(name, *, revision, allow_patterns, local_dir):
        asked.update(name=name, revision=revision, patterns=allow_patterns)
        if "place" not in asked:
            raise OSError("no network")
        return str(asked["place"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def test_the_hub_id_is_fetched_at_its_pinned_revision_without_code(tiny_v4, tmp_path, hub):
    hub["place"] = shutil.copytree(tiny_v4, tmp_path / PUBLISHED.revision)
    teacher = load("jinaai/jina-embeddings-v4", device="cpu")
    assert (hub["name"], hub["revision"]) == (PUBLISHED.hub_id, PUBLISHED.revision)
    assert not any(".py" in pattern or pattern == "*" for pattern in hub["patterns"])
    assert teacher.about["revision"] == PUBLISHED.revision and teacher.about["model"] == "jina-embeddings-v4"


def test_another_hub_id_keeps_its_name_and_revision(tiny_v4, tmp_path, hub):
    hub["place"] = shutil.copytree(tiny_v4, tmp_path / "0123abcd")
    teacher = load_jina_v4("org/tuned", revision="main", device="cpu")
    assert hub["revision"] == "main" and teacher.id.startswith("tuned-0123abcd-")


def test_a_hub_that_cannot_be_reached_is_named(hub):
    with pytest.raises(DataError, match=r"jinaai/jina-embeddings-v4: cannot be fetched.*no network"):
        load("jinaai/jina-embeddings-v4", device="cpu")


def test_the_licence_is_told_once(tiny_v4, capsys):
    qwen.show_licence.cache_clear()
    for _ in range(2):
        load(tiny_v4, device="cpu")
    said = capsys.readouterr()
    assert said.err == f"{PUBLISHED.licence}\n" and said.out == ""
    assert "Qwen Research License" in said.err and "CC-BY-NC" in said.err


def test_the_tiny_checkpoint_is_the_same_every_time_and_small(tiny_v4, tmp_path):
    again = write_tiny_checkpoint(tmp_path / "again")
    files = [path.relative_to(tiny_v4) for path in sorted(tiny_v4.rglob("*")) if path.is_file()]
    assert all((again / path).read_bytes() == (tiny_v4 / path).read_bytes() for path in files)
    assert sum((tiny_v4 / path).stat().st_size for path in files) < 1_000_000
    other = write_tiny_checkpoint(tmp_path / "other", seed=1, hidden=32, layers=1)
    assert load(other, device="cpu").encode(["a"], "query").shape == (1, 32)
    with pytest.raises(ValueError, match="hidden is 40"):
        write_tiny_checkpoint(tmp_path / "wrong", hidden=40)
