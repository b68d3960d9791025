import struct

import numpy as np
import pytest

from unbraid.errors import TeacherError
from unbraid.teacher.members.e5_file import BLOCK, BLOCK_BYTES, dequantize, read_e5_file
from unbraid.teacher.members.e5_folder import write_e5_folder

HIDDEN, HEADS, INNER, POSITIONS = 32, 2, 64, 24
PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
PIECES += [
    ("▁the", -2.0),
    ("▁cat", -2.5),
    ("▁", -3.0),
    *((letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz:"),
]


def quantized(numbers):
    """Blocks of 32 numbers as their file holds them, scale 1/8."""
    whole = np.clip(np.round(numbers.reshape(-1, BLOCK) * 8), -8, 7).astype(np.int64) + 8
    low, high = whole[:, :16], whole[:, 16:]
    scale = np.full((len(whole), 1), 0.125, "<f2").view(np.uint8)
    return np.concatenate([scale, (low | high << 4).astype(np.uint8)], axis=1).tobytes()


def tensors(layers=1):
    rng = np.random.default_rng(0)
    shapes = {"emb.word": (len(PIECES), HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    shapes |= {"emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for layer in range(layers):
        for name in ("q", "k", "v", "ao"):
            shapes |= {f"l{layer}.{name}.w": (HIDDEN, HIDDEN), f"l{layer}.{name}.b": (HIDDEN,)}
        shapes |= {f"l{layer}.fi.w": (INNER, HIDDEN), f"l{layer}.fi.b": (INNER,)}
        shapes |= {f"l{layer}.fo.w": (HIDDEN, INNER), f"l{layer}.fo.b": (HIDDEN,)}
        shapes |= {f"l{layer}.{norm}.{end}": (HIDDEN,) for norm in ("aln", "oln") for end in "wb"}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def e5_file(given=None, magic=b"E5S1", block=BLOCK):
    """The bytes of a small file; layer weights and the word table in blocks, the rest as float32."""
    given = tensors() if given is None else given
    head = magic + struct.pack("<I7ifi", 1, HIDDEN, 1, HEADS, INNER, len(PIECES), POSITIONS, 2, 1e-12, block)
    names = [piece.encode() for piece, _ in PIECES]
    offsets = np.cumsum([0, *map(len, names)]).astype("<u4")
    scores = np.array([score for _, score in PIECES], "<f4")
    blob = b"".join(names)
    head += (
        struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob)) + offsets.tobytes() + scores.tobytes() + blob
    )
    head += struct.pack("<iI", 0, 3) + b"abc"
    parts, table = [], []
    for name, numbers in given.items():
        blocked = numbers.ndim == 2 and name not in ("emb.pos", "emb.type")
        parts.append(quantized(numbers) if blocked else numbers.tobytes())
        table.append((name, int(blocked), numbers.size))
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in given)
    listed = b""
    for (name, kind, count), part in zip(table, parts, strict=True):
        listed += (
            struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, count, start, len(part))
        )
        start += len(part)
    return head + struct.pack("<i", len(given)) + listed + b"".join(parts)


def test_a_block_is_its_scale_times_low_nibbles_then_high_ones():
    low, high = np.arange(16), np.arange(16)[::-1]
    block = np.concatenate([np.array([0.5], "<f2").view(np.uint8), (low | high << 4).astype(np.uint8)])
    expected = np.concatenate([(low - 8) * 0.5, (high - 8) * 0.5])
    assert dequantize(block.reshape(1, BLOCK_BYTES)).tolist() == expected.tolist()


def test_sizes_pieces_and_tensors_are_read():
    given = tensors()
    file = read_e5_file(e5_file(given))
    assert (file.header.hidden, file.header.layers, file.header.vocabulary) == (HIDDEN, 1, len(PIECES))
    assert file.pieces == [(piece, pytest.approx(score)) for piece, score in PIECES]
    assert file.special == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    assert np.array_equal(file.tensors["emb.pos"], given["emb.pos"].reshape(-1))
    apart = np.abs(file.tensors["l0.fi.w"] - np.clip(given["l0.fi.w"].reshape(-1), -1, 0.875))
    assert apart.max() <= 1 / 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4" + bytes(100), "starts with b'PK"),
        (e5_file(block=64), "blocks of 64 numbers, expected 32"),
        (e5_file()[:60], "ends at byte 60"),
        (e5_file()[:-40], "a tensor of .* expected"),
    ],
)
def test_another_or_a_cut_file_is_refused(content, message):
    with pytest.raises(TeacherError, match=message):
        read_e5_file(content)


def test_a_missing_tensor_is_named(tmp_path):
    given = tensors()
    del given["l0.oln.b"]
    with pytest.raises(TeacherError, match=r"l0\.oln\.b"):
        write_e5_folder(e5_file(given), tmp_path)


def test_the_folder_is_an_encoder_with_every_weight_in_its_place(tmp_path):
    from transformers import AutoModel, AutoTokenizer

    write_e5_folder(e5_file(), tmp_path)
    model, info = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    given = read_e5_file(e5_file()).tensors
    key = model.encoder.layer[0].attention.self.key.weight.detach().numpy()
    assert np.array_equal(key.reshape(-1), given["l0.k.w"])
    tokens = AutoTokenizer.from_pretrained(tmp_path)("the  cat")["input_ids"]
    assert tokens == [0, 4, 5, 2]


def test_the_tokenizer_reads_any_white_space_and_compatibility_forms(tmp_path):
    from tokenizers import Tokenizer

    write_e5_folder(e5_file(), tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    plain = tokenizer.encode("the cat").ids
    assert tokenizer.encode(" the\n\tcat ").ids == plain
    assert tokenizer.encode("ｔｈｅ cat").ids == plain  # full-width letters: NFKC
