"""A last router of linear layers is mappers; any other router is not."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.adopt.conftest import WIDTH
from unbraid.adopt.router_mappers import without_mappers


@pytest.fixture
def model(transformer):
    """`model(before, **routes)`: an encoder, what comes before the router, and the router."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Pooling

    def make(before, **routes):
        modules = [transformer(), Pooling(WIDTH, "mean"), *before, Router(routes, default_route="document")]
        return SentenceTransformer(modules=modules, device="cpu", prompts={"query": "q: "})

    return make


def dense(**settings):
    from sentence_transformers.base.modules import Dense

    settings = {"bias": False, "activation_function": nn.Identity()} | settings
    return Dense(WIDTH, settings.pop("out", WIDTH), **settings)


def unit():
    from sentence_transformers.base.modules import Normalize

    return Normalize()


def test_linear_routes_are_matrices_and_a_normalization_is_the_base_vector(model):
    query = dense()
    given = model([unit()], query=[query, unit()], document=[unit()], base=[unit()])
    base, matrices = without_mappers(given)
    assert len(base) == 3
    assert base.prompts["query"] == "q: "
    assert matrices.keys() == {"query"}
    assert np.array_equal(matrices["query"], query.linear.weight.detach().numpy())
    vectors = base.encode(["the cat"]) @ matrices["query"].T
    expected = given.encode(["the cat"], task="query")
    assert np.abs(vectors / np.linalg.norm(vectors) - expected).max() < 1e-6


@pytest.mark.parametrize(
    "settings", [{"bias": True}, {"activation_function": nn.Tanh()}, {"use_residual": True}, {"out": 8}]
)
def test_other_layers_are_no_mappers(model, settings):
    torch.manual_seed(0)
    given = model([unit()], query=[dense(**settings), unit()], document=[unit()])
    assert without_mappers(given) == (given, {})


def test_vectors_that_are_not_of_unit_length_are_no_base_vectors(model):
    given = model([], query=[dense(), unit()], document=[unit()])
    assert without_mappers(given) == (given, {})


def test_a_router_without_both_sides_is_no_router_of_tasks(model):
    given = model([unit()], document=[unit()], code=[unit()])
    assert without_mappers(given) == (given, {})
