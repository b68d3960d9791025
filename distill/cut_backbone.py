"""A copy of a pre-trained encoder with a smaller vocabulary, which the languages of the training items share fairly."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from unbraid.base_encoders.cut_vocabulary import (
    CODE,
    balanced_pieces,
    count_pieces,
    cut_embeddings,
    cut_tokenizer,
)
from unbraid.base_encoders.text_encoder import load_backbone
from unbraid.distill.data.training_items import TrainingItem
from unbraid.io.atomic import atomic_folder

COUNTED = 20_000  # items of a language; more hardly change its order of pieces


def cut_backbone(items: Iterable[TrainingItem], backbone: Path, size: int, out: Path) -> None:
    """Write to `out` the encoder in the folder `backbone` with the `size` pieces that `items` need most.

    Raises ValueError as `balanced_pieces` and `cut_tokenizer` do.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    for item in items:
        found = texts[CODE if item.modality == "code" else item.language]
        if len(found) < COUNTED:
            found.append(item.text)
    tokenizer = Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    kept = balanced_pieces(tokenizer, count_pieces(tokenizer, texts), size)
    model = load_backbone(backbone)
    cut_embeddings(model, kept)
    with atomic_folder(out, lambda: None) as folder:
        model.save_pretrained(folder)
        cut_tokenizer(tokenizer, kept).save(str(folder / "tokenizer.json"))
