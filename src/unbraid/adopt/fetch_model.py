"""The folder of a model: one that is here, or fetched from a hub without its code."""

import os
from pathlib import Path

from unbraid.adopt.model_files import check_memory
from unbraid.errors import AdoptError, DataError
from unbraid.io.hub import fetch, file_sizes

SETTINGS = ("*.json", "*.txt", "*.model", "README.md")
SAFE = ("*.safetensors",)
PICKLED = ("pytorch_model*.bin", "*/pytorch_model*.bin", "open_clip_pytorch_model.bin")


def model_folder(model: str | Path, revision: str | None, *, allow_pickle: bool) -> Path:
    """The local folder of `model`, a folder or hub id "org/name". `revision` pins a hub id.

    Settings come first, so that a model that is too large is refused before its weights are fetched. Raises AdoptError
    for a name that is neither, and when the hub cannot give it.
    """
    folder = Path(model)
    if os.path.isdir(folder):  # Path.is_dir raises for a name that is too long
        if revision is not None:
            raise AdoptError(f"{folder} is a folder: --revision is for hub ids, leave it out")
        return folder
    try:
        check_memory(fetch(str(model), revision, SETTINGS), file_sizes(str(model), revision))
        return fetch(str(model), revision, (*SETTINGS, *SAFE, *(PICKLED if allow_pickle else ())))
    except DataError as error:
        raise AdoptError(str(error)) from error
