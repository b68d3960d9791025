"""The adapters that are shipped: small, described, made by the shipped recipe, and different from each other."""

import json
from pathlib import Path

import numpy as np
import pytest

from unbraid.items import Code
from unbraid.teacher import load
from unbraid.teacher.adapters import read_recipe
from unbraid.teacher.minilm import ADAPTERS
from unbraid.training.record import recipe_table

ITEMS = ["how are stars born", "A star forms when a cloud of gas collapses.", Code("def starBirth(gas): ...")]


@pytest.fixture(scope="module")
def starter():
    return load("starter", device="cpu")


def test_the_folder_is_at_most_five_megabytes():
    assert sum(path.stat().st_size for path in ADAPTERS.iterdir()) <= 5_000_000


def test_the_recipe_beside_the_weights_is_the_shipped_one():
    made = json.loads((ADAPTERS / "recipe.json").read_text())
    assert made == json.loads(json.dumps(recipe_table(read_recipe(Path("starter")))))


def test_the_card_names_every_source_with_its_licence():
    card = (ADAPTERS / "README.md").read_text()
    recipe = read_recipe(Path("starter"))
    used = {name for stage in recipe.stages.values() for name in (*stage.sources, *stage.held_out)}
    for source in recipe.source:
        assert (source.name in used) == (f"- {source.name}, " in card)
        assert source.name not in used or source.licence in card


def test_every_task_has_vectors_of_its_own(starter):
    plain = load("minilm", device="cpu").encode(ITEMS, "query")
    vectors = [starter.encode(ITEMS, task) for task in ("query", "symmetric", "code")]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (np.einsum("nd,nd->n", vectors[first], vectors[second]) < 0.999).all()
    for one in vectors:
        cosines = np.einsum("nd,nd->n", one, plain)
        assert (cosines > 0.5).all() and (cosines < 0.9999).all()  # near the backbone, and not the backbone


def test_query_and_document_share_their_route(starter):
    np.testing.assert_array_equal(starter.encode(ITEMS, "query"), starter.encode(ITEMS, "document"))


def test_mixed_tasks_and_short_forms_and_multi_vectors(starter):
    mixed = starter.encode(ITEMS, ["query", "symmetric", "code"], dim=128)
    assert mixed.shape == (3, 128)
    for row, task in enumerate(("query", "symmetric", "code")):
        np.testing.assert_allclose(mixed[row], starter.encode(ITEMS, task, dim=128)[row], atol=1e-5)
    several = starter.encode(ITEMS, "query", multi_vector=True)
    assert [tokens.shape[1] for tokens in several] == [128] * 3
    np.testing.assert_allclose(np.linalg.norm(several[0], axis=1), 1, atol=1e-5)
