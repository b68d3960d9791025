"""The modules that a folder of sentence-transformers names: all of them stock ones, there, and in safe files."""

from collections.abc import Iterator
from pathlib import Path

from unbraid.adopt.check_settings import check_model_kwargs
from unbraid.adopt.model_files import check_transformer, check_weights, read_json, read_object
from unbraid.errors import AdoptError
from unbraid.training.torchvision_shim import ensure_torchvision

MODULES, SETTINGS, ROUTER = "modules.json", "config_sentence_transformers.json", "router_config.json"
LIBRARY = "sentence_transformers."
KNOWN = (
    "Transformer",
    "Pooling",
    "Dense",
    "LayerNorm",
    "Normalize",
    "Dropout",
    "StaticEmbedding",
    "Router",
    "Asym",
)


def check_modules(folder: Path, *, allow_pickle: bool) -> None:
    """Raise AdoptError for modules that are missing, not of the library, or in files that are not safe."""
    if (folder / SETTINGS).is_file():
        kind = read_object(folder / SETTINGS).get("model_type", "SentenceTransformer")
        if kind != "SentenceTransformer":
            raise AdoptError(
                f"{folder / SETTINGS}: model_type is {kind!r}, which gives no single dense vector a text; expected "
                "'SentenceTransformer'"
            )
        _check_prompts(folder / SETTINGS)
    for place, kind, stated in _modules(folder):
        name = kind.rpartition(".")[2]
        if not kind.startswith(LIBRARY):
            raise AdoptError(
                f"{stated}: module {kind!r} is code of the model's own (remote code), which is never run; expected "
                f"modules of sentence-transformers"
            )
        if name not in KNOWN:
            raise AdoptError(f"{stated}: module {kind!r} cannot be adopted; known are {', '.join(KNOWN)}")
        if name in ("Normalize", "Dropout"):
            continue
        if not place.is_dir():
            raise AdoptError(f"{place}: not found, but {stated.name} names it: copy the model again")
        if name == "Transformer":
            check_model_kwargs(place)
            check_transformer(place, allow_pickle=allow_pickle)
        elif name in ("Dense", "LayerNorm"):
            read_object(place / "config.json")
            check_weights(place, allow_pickle=allow_pickle)
        elif name == "StaticEmbedding":
            check_weights(place, allow_pickle=allow_pickle)
            if not (place / "tokenizer.json").is_file():
                raise AdoptError(f"{place / 'tokenizer.json'}: not found, and {kind} reads texts with it")
        elif name == "Pooling":
            _check_pooling(place / "config.json")


def _check_prompts(path: Path) -> None:
    """Raise AdoptError for prompts that are not texts by name."""
    prompts = read_object(path).get("prompts") or {}
    if not isinstance(prompts, dict):
        raise AdoptError(f"{path}: prompts is {str(prompts)[:40]!r}, expected an object of prompts by name")
    for name, prompt in prompts.items():
        if not isinstance(prompt, str | None):
            raise AdoptError(f"{path}: the prompt {name!r} is {str(prompt)[:40]}, expected a text in quotes")


def _modules(folder: Path) -> Iterator[tuple[Path, str, Path]]:
    """Folder and class of every module, also those in a Router, and the file that names it."""
    stated = folder / MODULES
    entries = read_json(stated)
    if not isinstance(entries, list) or not entries:
        raise AdoptError(f"{stated}: expected a list of modules")
    for entry in entries:
        if not (isinstance(entry, dict) and isinstance(entry.get("type"), str)):
            raise AdoptError(f"{stated}: a module without a type: {str(entry)[:80]}")
        place = folder / str(entry.get("path", ""))
        if not place.resolve().is_relative_to(folder.resolve()):
            raise AdoptError(
                f"{stated}: module path {entry.get('path')!r} leaves the model's folder: refused"
            )
        yield place, entry["type"], stated
        if entry["type"].rpartition(".")[2] in ("Router", "Asym"):
            config = place / ROUTER if (place / ROUTER).is_file() else place / "config.json"
            types = read_object(config).get("types")
            if not isinstance(types, dict) or not types:
                raise AdoptError(f"{config}: expected the modules of the router under types")
            for name, kind in types.items():
                if not (place / name).resolve().is_relative_to(place.resolve()):
                    raise AdoptError(f"{config}: module {name!r} leaves the model's folder: refused")
                yield place / name, str(kind), config


def _check_pooling(path: Path) -> None:
    """Raise AdoptError for a pooling that the library does not have."""
    ensure_torchvision()
    from sentence_transformers.sentence_transformer.modules import Pooling

    config = read_object(path)
    known = Pooling.POOLING_MODES
    mode = config.get("pooling_mode", [])
    modes = [mode] if isinstance(mode, str) else list(mode)
    older = {
        key.removeprefix("pooling_mode_")
        for key, on in config.items()
        if key.startswith("pooling_mode_") and on
    }
    names = {*known, "cls_token", "max_tokens", "mean_tokens", "weightedmean_tokens"}
    if unknown := sorted({*modes, *older} - names):
        raise AdoptError(
            f"{path}: pooling {', '.join(unknown)} is not known: expected some of {', '.join(known)}"
        )
