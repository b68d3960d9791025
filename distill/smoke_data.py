"""Write what the `smoke` recipe needs: a megabyte of data, and a teacher and a backbone with random weights.

    python -m unbraid.distill.smoke_data DATA

The teacher has the published layout of jina-embeddings-v4, so `unbraid train distill smoke` takes the same steps as a
run on the real one, pictures included, in a minute. The bundle it makes is only good for trying those steps.
"""

import gzip
import io
import itertools
import json
import random
import string
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from unbraid.distill.drawings import draw
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.teacher.tiny import write_tiny_checkpoint

PAIRS, FUNCTIONS, GRADED, PICTURES = 200, 200, 200, 40  # some rows of each are kept out of training
TEACHER_WIDTH, STUDENT_WIDTH, TOKENS = 64, 48, 32
_WHO = "cat dog teacher student river farmer engineer child moon city".split()
_DOES = "finds paints counts opens follows measures repairs carries names watches".split()
_WHAT = "house map letter bridge number garden engine window song field".split()
_HOW = "slowly today twice again alone gladly early outside nearby often".split()


def write_smoke(folder: Path) -> Path:
    """Write everything into `folder`, which is returned; the contents are the same every time."""
    for name in ("text", "code", "sts", "image"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    sentences = [" ".join(words) for words in itertools.product(_WHO, _DOES, _WHAT, _HOW)]
    rng.shuffle(sentences)
    _write_rows(folder / "text" / "pairs.jsonl.gz", map(_pair, sentences[:PAIRS]))
    _write_rows(folder / "code" / "functions.jsonl.gz", map(_function, sentences[-FUNCTIONS:]))
    _write_rows(
        folder / "sts" / "graded.jsonl.gz", (_graded(one, rng) for one in sentences[PAIRS : PAIRS + GRADED])
    )
    _write_pictures(folder / "image")
    write_tiny_checkpoint(folder / "teacher", hidden=TEACHER_WIDTH)
    _write_backbone(folder / "backbone")
    return folder


def _pair(sentence: str) -> dict[str, Any]:
    who, does, what, how = sentence.split()
    return {"anchor": f"who {does} the {what} {how}", "positive": f"{how} the {who} {does} a {what}"}


def _function(sentence: str) -> dict[str, Any]:
    who, does, what, how = sentence.split()
    body = f"def {does}_{what}({who}):\n    return {who}.{does}({what!r}, {how}=True)"
    return {"anchor": f"{who} {does} the {what} {how}", "positive": body}


def _graded(sentence: str, rng: random.Random) -> dict[str, Any]:
    """A sentence and another that shares some of its words: the more, the higher the grade."""
    words = sentence.split()
    other = [rng.choice(kind) for kind in (_WHO, _DOES, _WHAT, _HOW)]
    shared = rng.randint(0, 4)
    mixed = [*words[:shared], *other[shared:]]
    return {"a": sentence, "b": " ".join(mixed), "score": float(shared)}


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _write_pictures(folder: Path) -> None:
    """drawn_graphics.tar and its rows; every fifth picture is kept out of training."""
    rows = []
    with tarfile.open(folder / "drawn_graphics.tar", "w") as archive:
        for number in range(PICTURES):
            drawing = draw(number)
            drawing.image.thumbnail((96, 96))
            content = io.BytesIO()
            drawing.image.save(content, "PNG")
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
            caption, *others = drawing.captions
            row = {"file": member.name, "caption": caption, "title": others[0] if others else ""}
            rows.append({**row, "split": "train" if number % 5 else "dev"})
    _write_rows(folder / "drawn_graphics.jsonl.gz", rows)


def _write_backbone(folder: Path) -> None:
    """A random BERT of two layers, and word pieces: the words of the sentences, letters and signs."""
    from transformers import BertConfig, BertModel

    folder.mkdir(exist_ok=True)
    letters = string.ascii_lowercase + string.digits
    words = "a the who def return true self import".split()
    pieces = [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *dict.fromkeys([*letters, *string.punctuation, *words, *_WHO, *_DOES, *_WHAT, *_HOW]),
        *(f"##{letter}" for letter in letters),
    ]
    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=STUDENT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        max_position_embeddings=TOKENS,
        initializer_range=0.2,  # at BERT's own 0.02 all texts get nearly the same vector
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with silence_transformers():
            BertModel(config, add_pooling_layer=False).save_pretrained(folder)


if __name__ == "__main__":
    write_smoke(Path(sys.argv[1]))
