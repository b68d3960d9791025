"""What is checked of a model's files before any library loads them: remote code, pickled weights, memory."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from unbraid.errors import AdoptError
from unbraid.teacher.memory import free_bytes

# Bytes of one ONNX file: protobuf stops at 2 GiB, and a bundle keeps a graph in one file.
LARGEST = 2**31 - 2**24
INDEX, SINGLE, PICKLE = "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin"
COPIES = 4  # of the float32 weights that are held at once while a graph is written and checked
OPEN_CLIP, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
ADAPTER = "adapter_config.json"


def read_json(path: Path) -> Any:
    """The content of a JSON file of a model. Raises AdoptError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AdoptError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise AdoptError(f"{path}: not valid JSON: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model. Raises AdoptError that names it."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise AdoptError(f"{path}: holds a {type(found).__name__}, expected a JSON object")
    return found


def check_transformer(folder: Path, *, allow_pickle: bool) -> None:
    """Raise AdoptError unless transformers can load the model in `folder` by itself and from safe files."""
    config = read_object(folder / "config.json")
    if (folder / ADAPTER).is_file():
        raise AdoptError(
            f"{folder / ADAPTER}: this is an adapter, not a whole model: merge it into its model first "
            "(peft: merge_and_unload) and save that"
        )
    check_code(folder / "config.json", config)
    check_weights_name(folder / "config.json", config)
    check_weights(folder, allow_pickle=allow_pickle)


def check_code(path: Path, config: dict[str, Any]) -> None:
    """Raise AdoptError for a config that needs Python files from the model's own repository."""
    from unbraid.training.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        code = "its auto_map names Python files of its own (remote code), which is never run" * (
            "auto_map" in config
        )
        raise AdoptError(
            f"{path}: model_type {kind!r} is not known to transformers{': ' + code if code else ''}; "
            "expected an architecture that transformers has itself"
        )


def check_weights_name(path: Path, config: dict[str, Any]) -> None:
    """Raise AdoptError for a config.json at `path` that has transformers read weights from a file of another name."""
    if config.get("transformers_weights"):
        raise AdoptError(
            f"{path}: transformers_weights is {str(config['transformers_weights'])[:80]!r}, and `adopt` reads "
            "model.safetensors only: rename the file and remove the entry"
        )


def check_weights(folder: Path, *, allow_pickle: bool) -> None:
    """Raise AdoptError unless the weights in `folder` are safetensors, or pickled ones that were allowed."""
    if (folder / SINGLE).is_file():
        return
    if (folder / INDEX).is_file():
        for name in sorted(set(_shards(folder / INDEX))):
            if not (folder / name).is_file():
                raise AdoptError(f"{folder / name}: not found, but {INDEX} names it: copy the model again")
        return
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if not pickled:
        raise AdoptError(f"{folder / SINGLE}: not found: the model has no weights that can be read")
    if not allow_pickle:
        raise AdoptError(
            f"{pickled[0]}: the weights are pickled, and a pickle can run code: convert them to safetensors, or pass "
            "--allow-pickle to read them with torch's restricted loader (weights_only)"
        )


def check_memory(folder: Path, on_hub: Mapping[str, int] | None = None) -> None:
    """Raise AdoptError, with the memory that is needed, for a model that is too large for a graph or this machine.

    Only headers and indexes are read. Without weights here, the index tells, or `on_hub`, the bytes of each file on a hub:
    a number there has at most four. Where nothing tells, nothing is refused.
    """
    weights_name = OPEN_CLIP_WEIGHTS if (folder / OPEN_CLIP).is_file() else SINGLE
    numbers = count_numbers(folder) or sum(
        size // 4 for name, size in (on_hub or {}).items() if name.rpartition("/")[2] == weights_name
    )
    weights, needed = 4 * numbers, 4 * COPIES * numbers
    about = (
        f"{folder}: {numbers / 1e6:,.0f} million parameters take {_gb(weights)} in float32, and adopting them about "
        f"{_gb(needed)} of memory"
    )
    # The two towers of open_clip have a graph each, and its reader looks at both.
    if weights > LARGEST and weights_name == SINGLE:
        raise AdoptError(
            f"{about}; a graph holds at most {_gb(LARGEST)} (about 530 million): choose a smaller model"
        )
    if needed > (free := free_bytes(torch.device("cpu"))):
        raise AdoptError(f"{about}; {_gb(free)} are free: use a machine with more")


def count_numbers(folder: Path) -> int:
    """How many numbers the weights in `folder` and its subfolders hold; pickled files count as float32.

    Of a model of open_clip, which may lie beside the same one for transformers, its own weights alone count.
    """
    if (folder / OPEN_CLIP).is_file():
        return sum(math.prod(shape) for shape in tensor_shapes(folder / OPEN_CLIP_WEIGHTS).values())
    total = 0
    indexed: set[Path] = set()
    for index in folder.rglob(INDEX):
        shards = {index.parent / name for name in _shards(index)}
        indexed |= shards
        if not all(shard.is_file() for shard in shards):  # before they are fetched
            total += int(read_object(index).get("metadata", {}).get("total_size", 0)) // 2
    for path in folder.rglob("*.safetensors"):
        if path.name == SINGLE or path in indexed:
            total += sum(math.prod(shape) for shape in tensor_shapes(path).values())
    if not total:
        total = sum(path.stat().st_size // 4 for path in folder.rglob("pytorch_model*.bin"))
    return total


def tensor_names(path: Path) -> set[str]:
    """The names of the tensors in a safetensors file; none where there is no file. Raises AdoptError for another."""
    return set(tensor_shapes(path))


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in a safetensors file; none where there is no file. Raises AdoptError for another."""
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "np") as file:
            names = file.keys()
            return {name: file.get_slice(name).get_shape() for name in names}
    except (OSError, SafetensorError) as error:
        raise AdoptError(f"{path}: not a readable safetensors file: {error}") from error


def _shards(index: Path) -> list[str]:
    places = read_object(index).get("weight_map")
    if (
        not isinstance(places, dict)
        or not places
        or not all(Path(str(one)).name == one for one in places.values())
    ):
        raise AdoptError(f"{index}: expected a weight_map with names of files beside it")
    return list(places.values())


def _gb(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
