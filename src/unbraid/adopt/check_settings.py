"""What a model's settings may ask of the libraries that load it: no code, no pickle and no other files."""

from pathlib import Path
from typing import Any

from unbraid.adopt.model_files import read_object
from unbraid.errors import AdoptError

TOKENIZER_KWARGS = ("additional_special_tokens", "clean", "reduction_mask", "strip_sep_token")
# The library itself drops trust_remote_code, and reads pickled weights only with --allow-pickle.
MODEL_KWARGS = (
    "add_pooling_layer",
    "attn_implementation",
    "dtype",
    "low_cpu_mem_usage",
    "torch_dtype",
    "trust_remote_code",
    "use_safetensors",
)


def check_auto_map(folder: Path, *names: str) -> None:
    """Raise AdoptError where one of the files `names` of `folder` names Python files of the model's own."""
    for name in names:
        if (folder / name).is_file() and "auto_map" in read_object(folder / name):
            raise AdoptError(
                f"{folder / name}: its auto_map names Python files of the model's own (remote code), which is never "
                "run: choose a model that its library loads by itself, or remove auto_map if this one does"
            )


def check_tokenizer_kwargs(path: Path, found: Any) -> None:
    """Raise AdoptError for a `tokenizer_kwargs` of open_clip's config at `path` that can do more than clean texts."""
    _check_keys(path, "tokenizer_kwargs", found, TOKENIZER_KWARGS)


def check_model_kwargs(folder: Path) -> None:
    """Raise AdoptError for settings of sentence-transformers' module Transformer that it passes on to transformers."""
    for path in sorted(folder.glob("sentence_*_config.json")):
        about = read_object(path)
        for name in ("model_args", "model_kwargs"):
            _check_keys(path, name, about.get(name), MODEL_KWARGS)


def _check_keys(path: Path, name: str, found: Any, known: tuple[str, ...]) -> None:
    if found is None:
        return
    if not isinstance(found, dict):
        raise AdoptError(f"{path}: {name} is a {type(found).__name__}, expected a JSON object")
    if unknown := sorted(set(found) - set(known)):
        raise AdoptError(
            f"{path}: {name} has {', '.join(unknown)[:200]}, which `adopt` does not pass on: remove it; known are "
            f"{', '.join(known)}"
        )
