"""multilingual-e5-small as an ordinary sentence-transformers folder, from its 4-bit file."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unbraid.errors import TeacherError
from unbraid.teacher.members.e5_file import E5File, E5Header, read_e5_file

MAX_TOKENS = 512
# Names in the file -> names in transformers' BertModel.
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def write_e5_folder(content: bytes, folder: Path) -> None:
    """Write weights, settings and tokenizer of the 4-bit file `content` into `folder`, which is there and empty.

    The weights are float32: a 4-bit number times its float16 scale does not fit into float16.
    Raises TeacherError for a file with other tensors than a BERT encoder's.
    """
    from safetensors.numpy import save_file

    file = read_e5_file(content)
    save_file(bert_tensors(file), folder / "model.safetensors", metadata={"format": "pt"})
    write_e5_tokenizer(file, folder / "tokenizer.json")
    for name, table in _settings(file.header).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(table, indent=1), encoding="utf-8")


def bert_tensors(file: E5File) -> dict[str, np.ndarray]:
    """Every tensor under the name that BertModel gives it, in its shape. Raises TeacherError for other tensors."""
    header = file.header
    shapes = _shapes(header)
    names = dict(_EMBEDDINGS)
    for layer in range(header.layers):
        for short, long in _LAYER.items():
            for end, part in (("w", "weight"), ("b", "bias")):
                names[f"l{layer}.{short}.{end}"] = f"encoder.layer.{layer}.{long}.{part}"
    if wrong := sorted(names.keys() ^ file.tensors.keys()):
        raise TeacherError(f"the e5 file: {', '.join(wrong[:5])} missing or not expected ({len(wrong)} such)")
    found = {}
    for short, long in names.items():
        shape = shapes[short if short.startswith("emb") else short.partition(".")[2]]
        tensor = file.tensors[short]
        if tensor.size != np.prod(shape):
            raise TeacherError(f"the e5 file: {short} has {tensor.size} numbers, expected {shape}")
        found[long] = tensor.reshape(shape)
    return found


def write_e5_tokenizer(file: E5File, path: Path) -> None:
    """Write the unigram tokenizer: NFKC, white space to one mark before each word, `<s> ... </s>` around a text."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    special = file.special
    tokenizer = Tokenizer(models.Unigram(file.pieces, unk_id=special["unk"], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    first, last = (file.pieces[special[kind]][0] for kind in ("bos", "eos"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} {last} $B {last}",
        special_tokens=[(first, special["bos"]), (last, special["eos"])],
    )
    tokenizer.add_special_tokens(
        [
            AddedToken(piece, special=True, normalized=False)
            for piece in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
            if tokenizer.token_to_id(piece) is not None
        ]
    )
    tokenizer.save(str(path))


def _shapes(header: E5Header) -> Mapping[str, tuple[int, ...]]:
    hidden, inner = header.hidden, header.feed_forward
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (header.vocabulary, hidden),
        "emb.pos": (header.positions, hidden),
        "emb.type": (header.types, hidden),
        "emb.ln.w": (hidden,),
        "emb.ln.b": (hidden,),
        "fi.w": (inner, hidden),
        "fi.b": (inner,),
        "fo.w": (hidden, inner),
    }
    for name in ("q", "k", "v", "ao"):
        shapes[f"{name}.w"] = (hidden, hidden)
    for name in ("q.b", "k.b", "v.b", "ao.b", "fo.b", "aln.w", "aln.b", "oln.w", "oln.b"):
        shapes[name] = (hidden,)
    return shapes


def _settings(header: E5Header) -> dict[str, object]:
    """The JSON files of a sentence-transformers folder, by name."""
    module = "sentence_transformers.models"
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": header.hidden,
            "num_hidden_layers": header.layers,
            "num_attention_heads": header.heads,
            "intermediate_size": header.feed_forward,
            "vocab_size": header.vocabulary,
            "max_position_embeddings": header.positions,
            "type_vocab_size": header.types,
            "layer_norm_eps": float(f"{header.eps:.3g}"),
            "hidden_act": "gelu",
            "pad_token_id": 0,  # as published: BERT does not use it in its positions
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MAX_TOKENS,
            "bos_token": "<s>",
            "cls_token": "<s>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{module}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{module}.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{module}.Normalize"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": header.hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
        },
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "document": "passage: "}},
    }
