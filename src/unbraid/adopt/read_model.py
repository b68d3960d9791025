"""What kind of model a folder or hub id is, and the reader for it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unbraid.adopt.fetch_model import model_folder
from unbraid.adopt.model_files import SINGLE, check_memory, read_object, tensor_names
from unbraid.adopt.models import AdoptedModel
from unbraid.bundle import MANIFEST
from unbraid.errors import AdoptError

TABLE = "embeddings"  # the tensor that tells a model2vec model; its modules.json is for sentence-transformers


def read_model(
    model: str | Path,
    *,
    revision: str | None = None,
    pooling: str | None = None,
    prompts: Mapping[str, str] | None = None,
    allow_pickle: bool = False,
) -> AdoptedModel:
    """The model in a folder or of a hub id.

    `pooling` is for a plain transformers encoder. `prompts` says by task which of the model's prompts to take. Raises
    AdoptError for a model that no reader knows, or that cannot become a bundle.
    """
    _check_name(Path(model))
    folder = model_folder(model, revision, allow_pickle=allow_pickle)
    check_memory(folder)
    found = _read(folder, pooling, prompts or {}, allow_pickle=allow_pickle)
    # A hub's cache names the folder by the commit.
    here = Path(model).exists()
    return replace(found, name=folder.resolve().name if here else str(model).rpartition("/")[2])


def _check_name(place: Path) -> None:
    """Raise AdoptError for a file, and for what is a bundle already."""
    if os.path.isfile(place):
        raise AdoptError(
            f"{place}: is a file; name the folder that holds config.json and the weights in safetensors"
        )
    if str(place) == "starter" or os.path.isfile(place / MANIFEST):
        raise AdoptError(f"{place}: is a bundle of unbraid already: use it as --model {place}")


def _read(
    folder: Path, pooling: str | None, prompts: Mapping[str, str], *, allow_pickle: bool
) -> AdoptedModel:
    """The model in `folder`, by the reader for its kind."""
    kind = kind_of(folder)
    if pooling is not None and kind != "transformers":
        raise AdoptError(
            f"{folder}: --pooling is for a plain transformers encoder, and this is a {kind} model"
        )
    if prompts and kind != "sentence-transformers":
        raise AdoptError(
            f"{folder}: --prompt names a prompt of a sentence-transformers model, and this is a {kind} model, which has "
            "none: leave it out"
        )
    if kind == "model2vec":
        from unbraid.adopt.read_model2vec import read_model2vec

        return read_model2vec(folder)
    if kind == "open_clip":
        from unbraid.adopt.read_open_clip import read_open_clip

        return read_open_clip(folder)
    if kind == "CLIP":
        from unbraid.adopt.read_clip import read_clip

        return read_clip(folder)
    from unbraid.adopt.read_sentence_transformer import POOLINGS, read_encoder, read_sentence_transformer

    if kind == "sentence-transformers":
        return read_sentence_transformer(folder, prompts=prompts, allow_pickle=allow_pickle)
    if pooling not in POOLINGS:
        got = (
            "does not say how its tokens become one vector"
            if pooling is None
            else f"has no pooling {pooling!r}"
        )
        raise AdoptError(
            f"{folder}: a plain transformers encoder {got}: pass --pooling, one of {', '.join(POOLINGS)}"
        )
    return read_encoder(folder, pooling, allow_pickle=allow_pickle)


def kind_of(folder: Path) -> str:
    """The library of a model by the files in `folder`, "CLIP" for CLIP and SigLIP models of transformers.

    Raises AdoptError for a folder of no library that is known.
    """
    if (folder / "open_clip_config.json").is_file():
        return "open_clip"
    config = folder / "config.json"
    about = read_object(config) if config.is_file() else {}
    if config.is_file() and TABLE in tensor_names(folder / SINGLE):
        return "model2vec"
    if (folder / "modules.json").is_file():
        return "sentence-transformers"
    if about.get("model_type") in ("clip", "siglip"):
        return "CLIP"
    if config.is_file():
        return "transformers"
    raise AdoptError(
        f"{folder}: holds neither modules.json (sentence-transformers), config.json (transformers, model2vec) nor "
        "open_clip_config.json"
    )
