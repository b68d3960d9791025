"""A random checkpoint of a megabyte in the published layout of jina-embeddings-v4, to try everything but quality.

It has what makes the real one hard to load: two shards that share a layer, base weights under the old key names
and adapters under the new ones, three tasks in one adapter file, and a projector that no stock class knows.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from unbraid.teacher.adapter_file import CONFIG, PREFIX, WEIGHTS
from unbraid.teacher.model import ARCHITECTURES, PROJECTED
from unbraid.teacher.routes import TASK_ADAPTERS

HEAD = 16  # dimensions of an attention head; half of them are split into the three sections of M-RoPE
SECTIONS = (2, 3, 3)
RANK = 4
VISION_DEPTH, VISION_HIDDEN, VISION_INTERMEDIATE, VISION_HEADS = 3, 32, 48, 2
PATCH, MERGE, FRAMES = 14, 2, 2

# Qwen2.5's added tokens in their published order. The last eight are not marked special there, so that skipping
# special tokens is not enough to read them as text.
SPECIAL_TOKENS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>"
    " <|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()
PLAIN_TOKENS = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>"
).split()
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
_SENTENCES = (
    "Query: what does the cat see in the picture?",
    "Passage: the house by the river is red and the sea is green.",
    "user\nDescribe the image.",
    "def search(self, query): return self.index.search(query)",
)


def write_tiny_checkpoint(
    folder: Path, *, seed: int = 0, hidden: int = 64, layers: int = 2, dtype: torch.dtype = torch.bfloat16
) -> Path:
    """Write the checkpoint and return `folder`; the same `seed` gives the same bytes.

    `hidden`, a multiple of 32, and `layers`, at least 1, are those of the language model. The published weights
    are bfloat16. Weights are so large that texts and tasks differ clearly.
    """
    if hidden < 32 or hidden % 32 or layers < 1:
        raise ValueError(f"hidden is {hidden}, layers {layers}: expected a multiple of 32, and at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    tokens = _write_tokenizer(folder)
    generator = torch.Generator().manual_seed(seed)
    vocabulary = max(tokens.values()) + 1
    _write_base(folder, _base(generator, vocabulary, hidden, layers), layers, dtype)
    _write_adapters(folder / "adapters", _adapters(generator, hidden, layers), dtype)
    config = _config(tokens, vocabulary, hidden, layers, str(dtype).removeprefix("torch."))
    _write_json(folder / "config.json", config)
    _write_json(folder / "preprocessor_config.json", _preprocessor())
    return folder


def _intermediate(hidden: int) -> int:
    return hidden * 3 // 2


def _widths(hidden: int) -> dict[str, tuple[int, int]]:
    """Output and input width of each linear layer of the language model: two heads of keys and values."""
    wide, narrow = _intermediate(hidden), 2 * HEAD
    return {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }


def _base(generator: torch.Generator, vocabulary: int, hidden: int, layers: int) -> dict[str, Tensor]:
    """Base weights float32 under the published (old) names, in the published order."""

    def normal(*shape: int, std: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=generator) * std

    def norm(width: int) -> Tensor:
        return 1 + normal(width, std=0.2)

    def linear(name: str, out: int, into: int, bias: bool = True) -> dict[str, Tensor]:
        weight = {f"{name}.weight": normal(out, into, std=into**-0.5)}
        return {**weight, f"{name}.bias": normal(out, std=0.2)} if bias else weight

    found = {"model.embed_tokens.weight": normal(vocabulary, hidden)}
    for i in range(layers):
        for name, (out, into) in _widths(hidden).items():
            bias = name.endswith(("q_proj", "k_proj", "v_proj"))
            found |= linear(f"model.layers.{i}.{name}", out, into, bias)
        found[f"model.layers.{i}.input_layernorm.weight"] = norm(hidden)
        found[f"model.layers.{i}.post_attention_layernorm.weight"] = norm(hidden)
    found["model.norm.weight"] = norm(hidden)

    v = VISION_HIDDEN
    patch = normal(v, 3, FRAMES, PATCH, PATCH, std=(3 * FRAMES * PATCH * PATCH) ** -0.5)
    found["visual.patch_embed.proj.weight"] = patch
    for i in range(VISION_DEPTH):
        block = f"visual.blocks.{i}"
        found |= {f"{block}.norm1.weight": norm(v), f"{block}.norm2.weight": norm(v)}
        found |= linear(f"{block}.attn.qkv", 3 * v, v) | linear(f"{block}.attn.proj", v, v)
        found |= linear(f"{block}.mlp.gate_proj", VISION_INTERMEDIATE, v)
        found |= linear(f"{block}.mlp.up_proj", VISION_INTERMEDIATE, v)
        found |= linear(f"{block}.mlp.down_proj", v, VISION_INTERMEDIATE)
    merged = v * MERGE * MERGE
    found["visual.merger.ln_q.weight"] = norm(v)
    found |= linear("visual.merger.mlp.0", merged, merged) | linear("visual.merger.mlp.2", hidden, merged)
    return found | linear("multi_vector_projector", PROJECTED, hidden)


def _adapters(generator: torch.Generator, hidden: int, layers: int) -> dict[str, Tensor]:
    """Adapters float32, the tasks of one layer beside each other as published, no B of zeros."""
    widths = {
        f"model.language_model.layers.{i}.{name}": shape
        for i in range(layers)
        for name, shape in _widths(hidden).items()
    }
    found = {}
    for module, (out, into) in {**widths, "multi_vector_projector": (PROJECTED, hidden)}.items():
        for task in TASK_ADAPTERS:
            a = torch.randn(RANK, into, generator=generator) * into**-0.5
            b = torch.randn(out, RANK, generator=generator) * RANK**-0.5
            found[f"{PREFIX}{module}.lora_A.{task}.weight"] = a
            found[f"{PREFIX}{module}.lora_B.{task}.weight"] = b
    return found


def _write_base(folder: Path, tensors: Mapping[str, Tensor], layers: int, dtype: torch.dtype) -> None:
    """Two shards and their index. The first ends inside the last layer, as the published one does in layer 19."""
    last = f"model.layers.{layers - 1}.mlp.gate_proj.weight"
    names = list(tensors)
    cut = names.index(last)
    places: dict[str, str] = {}
    for number, keys in enumerate((names[:cut], names[cut:]), start=1):
        shard = f"model-{number:05d}-of-00002.safetensors"
        places |= dict.fromkeys(keys, shard)
        save_file({key: tensors[key].to(dtype) for key in keys}, folder / shard, metadata={"format": "pt"})
    size = sum(tensor.numel() for tensor in tensors.values()) * dtype.itemsize
    _write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places}
    )


def _write_adapters(folder: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    folder.mkdir(exist_ok=True)
    save_file({key: t.to(dtype) for key, t in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    place = ARCHITECTURES["qwen2_5_vl"]
    config = {
        "auto_mapping": None,
        "base_model_name_or_path": "jinaai/jina-embeddings-v4",
        "bias": "none",
        "exclude_modules": place.exclude_modules,
        "inference_mode": False,
        "init_lora_weights": "gaussian",
        "lora_alpha": RANK,
        "lora_dropout": 0.1,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": place.target_modules,
        "task_type": "FEATURE_EXTRACTION",
        "use_dora": False,
        "use_rslora": False,
    }
    _write_json(folder / CONFIG, config)


def _config(
    tokens: Mapping[str, int], vocabulary: int, hidden: int, layers: int, dtype: str
) -> dict[str, object]:
    """config.json with the published fields."""
    text = {
        "attention_dropout": 0.0,
        "bos_token_id": tokens["<|endoftext|>"],
        "eos_token_id": tokens["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": _intermediate(hidden),
        "max_position_embeddings": 128000,
        "max_window_layers": 70,
        "model_type": "qwen2_5_vl_text",
        "num_attention_heads": hidden // HEAD,
        "num_hidden_layers": layers,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_scaling": {"mrope_section": list(SECTIONS), "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": vocabulary,
    }
    vision = {
        "depth": VISION_DEPTH,
        "fullatt_block_indexes": [1],
        "hidden_act": "silu",
        "hidden_size": VISION_HIDDEN,
        "in_channels": 3,
        "intermediate_size": VISION_INTERMEDIATE,
        "model_type": "qwen2_5_vl",
        "num_heads": VISION_HEADS,
        "out_hidden_size": hidden,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "spatial_patch_size": PATCH,
        "temporal_patch_size": FRAMES,
        "tokens_per_second": 2,
        "window_size": 56,  # two merged patches: the windows of a small picture are then really re-ordered
    }
    remote = "JinaEmbeddingsV4"
    return {
        "architectures": [f"{remote}Model"],
        "auto_map": {
            "AutoConfig": f"configuration_jina_embeddings_v4.{remote}Config",
            "AutoModel": f"modeling_jina_embeddings_v4.{remote}Model",
        },
        "bos_token_id": tokens["<|endoftext|>"],
        "eos_token_id": tokens["<|im_end|>"],
        "image_token_id": tokens["<|image_pad|>"],
        "matryoshka_dims": [hidden // 4, hidden // 2, hidden],
        "model_type": "qwen2_5_vl",
        "multi_vector_projector_dim": PROJECTED,
        "single_vector_pool_strategy": "mean",
        "task_names": list(TASK_ADAPTERS),
        "text_config": text,
        "torch_dtype": dtype,
        "truncate_dim": None,
        "video_token_id": tokens["<|video_pad|>"],
        "vision_config": vision,
        "vision_end_token_id": tokens["<|vision_end|>"],
        "vision_start_token_id": tokens["<|vision_start|>"],
        "vision_token_id": tokens["<|vision_pad|>"],
    }


def _preprocessor() -> dict[str, object]:
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "max_pixels": 602112,
        "merge_size": MERGE,
        "min_pixels": 3136,
        "patch_size": PATCH,
        "processor_class": "JinaEmbeddingsV4Processor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": 602112, "shortest_edge": 3136},
        "temporal_patch_size": FRAMES,
    }


def _write_tokenizer(folder: Path) -> dict[str, int]:
    """Write a byte-level BPE of a few sentences; returns the id of each added token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    # As published, added tokens come after the vocabulary and are not in it.
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in PLAIN_TOKENS])
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = {token: vocabulary[token] for token in (*SPECIAL_TOKENS, *PLAIN_TOKENS)}
    decoder = {
        str(number): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIAL_TOKENS,
        }
        for token, number in added.items()
    }
    about = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": decoder,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "processor_class": "JinaEmbeddingsV4Processor",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    _write_json(folder / "tokenizer_config.json", about)
    return added


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
