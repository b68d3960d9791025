"""The tiny bundle, its two sides, a picture and a small index. Nothing is reported to Haystack's makers."""

import os

# Haystack reads it when it is imported.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.index import Index

TEXTS = ["the cat sleeps", "a dog in the house"]


@pytest.fixture(scope="session")
def model(bundle_folder: Path) -> str:
    """What a user gives as `model`."""
    return str(bundle_folder)


@pytest.fixture(scope="session")
def sides(embedder: unbraid.Embedder) -> SimpleNamespace:
    """`queries(items)` and `documents(items)` of the retrieval mode, by the embedder itself."""
    return SimpleNamespace(
        queries=lambda items: embedder.encode(items, task="query", side="query"),
        documents=lambda items: embedder.encode(items, task="document", side="document"),
    )


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "dots.png"
    dots = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(dots).save(path)
    return path


@pytest.fixture(scope="session")
def index(
    tmp_path_factory: pytest.TempPathFactory, embedder: unbraid.Embedder, picture: Path
) -> Iterator[Index]:
    """An open index of two texts and a picture."""
    folder = tmp_path_factory.mktemp("notes")
    (folder / "cat.md").write_text("# Cat\n\nthe cat sleeps in the red house\n")
    (folder / "dog.md").write_text("# Dog\n\na dog runs in the green garden\n")
    with unbraid.open_index(folder / "my.index", model=embedder) as made:
        made.add([folder / "cat.md", folder / "dog.md", picture], progress=False)
        yield made
