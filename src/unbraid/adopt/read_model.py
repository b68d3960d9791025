"""What kind of model a folder or hub id is, and the reader for it."""

from pathlib import Path

from unbraid.adopt.models import AdoptedModel
from unbraid.adopt.read_sentence_transformer import read_sentence_transformer
from unbraid.errors import AdoptError


def read_model(model: str | Path) -> AdoptedModel:
    """The model in a folder or of a hub id. Raises AdoptError for one that no reader knows."""
    folder = Path(model)
    if (folder / "modules.json").is_file():
        return read_sentence_transformer(folder)
    raise AdoptError(f"{folder}: not a model that can be adopted")
