"""A checkpoint folder: fetch it, hash it, and list its tensors without loading them."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unbraid.errors import DataError, TeacherError
from unbraid.io import hub

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
# Files to fetch from the hub: weights, settings and tokenizer. Never code.
PATTERNS = (
    *("config.json", "preprocessor_config.json", "generation_config.json", INDEX, "model*.safetensors"),
    *("adapters/adapter_config.json", "adapters/adapter_model.safetensors", "chat_template*"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "*tokens*.json"),
)
# What decides the vectors, beside the weights.
_SETTINGS = (
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "adapters/adapter_config.json",
    "adapters/adapter_model.safetensors",
)


@dataclass(frozen=True)
class Stored:
    """One tensor in a safetensors file: its key there, the file, its dtype as the file calls it, and its shape."""

    key: str
    file: Path
    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def read(self) -> Tensor:
        """The tensor, on the CPU. Raises TeacherError for a file that cannot be read."""
        try:
            with safe_open(self.file, "pt") as file:
                tensor: Tensor = file.get_tensor(self.key)
        except (OSError, SafetensorError) as error:
            raise TeacherError(f"{self.file}: {self.key} cannot be read: {error}") from error
        return tensor


def checkpoint_folder(source: str | Path, revision: str | None) -> tuple[Path, str]:
    """The local folder of a checkpoint, and an id of its contents: the hub's commit, or a digest of the files.

    `source` is a folder or a hub id "org/name", of which only PATTERNS are downloaded. Raises DataError for
    anything else and when the hub cannot give it.
    """
    folder = Path(source)
    if os.path.isdir(folder):  # Path.is_dir raises for a name that is too long
        if revision is not None:
            raise DataError(f"{folder} is a folder: revision is for hub ids, leave it out")
        return folder, digest(folder)
    place = hub.fetch(str(source), revision, PATTERNS)
    return place, place.name  # the hub's cache names the folder by the commit


def digest(folder: Path) -> str:
    """Twelve hexadecimal digits of the weights and settings in `folder`."""
    files = sorted({stored.file for stored in stored_tensors(folder).values()})
    files += [folder / name for name in _SETTINGS if (folder / name).is_file()]
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()[:12]


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor of the checkpoint in `folder`, by key, from the headers of its files.

    Raises TeacherError for an index that is not one, and for files that are absent, cut off or hold other keys.
    """
    if not (folder / INDEX).is_file():
        return file_tensors(folder / SINGLE)
    try:
        places = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(places.values()))
        usable = bool(files) and all(Path(file).name == file for file in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TeacherError(f"{folder / INDEX}: not a readable index: {error!r}") from error
    if not usable:
        raise TeacherError(f"{folder / INDEX}: expected names of files beside it, got {', '.join(files)}")
    found: dict[str, Stored] = {}
    for file in files:
        found |= file_tensors(folder / file)
    if wrong := sorted(found.keys() ^ places.keys()):
        where = "its files, not in it" if wrong[0] in found else "it, not in its files"
        raise TeacherError(f"{folder / INDEX}: {wrong[0]} is in {where} ({len(wrong)} such keys)")
    return found


def file_tensors(path: Path) -> dict[str, Stored]:
    """Every tensor of one safetensors file, by key. Raises TeacherError for a file that is not one."""
    try:
        with safe_open(path, "pt") as file:
            found = {}
            for key in file.keys():  # noqa: SIM118  (not a mapping)
                part = file.get_slice(key)
                found[key] = Stored(key, path, part.get_dtype(), tuple(part.get_shape()))
            return found
    except (OSError, SafetensorError) as error:
        raise TeacherError(f"{path}: not a readable safetensors file: {error}") from error


def dtype_name(dtype: torch.dtype) -> str:
    """Its name without the prefix: "bfloat16"."""
    return str(dtype).removeprefix("torch.")
