import pytest
import torch
from safetensors.torch import save_file

from unbraid.errors import DataError
from unbraid.mappers import (
    GatedMapper,
    LinearMapper,
    LowRankMapper,
    load_mapper,
    save_mapper,
)

START = torch.randn(6, 6, generator=torch.Generator().manual_seed(3))


def linear():
    return LinearMapper(START)


def low_rank():
    return LowRankMapper(START, 2)


def gated():
    return GatedMapper(START, 4)


def trained(make):
    """A mapper whose every parameter was changed."""
    mapper = make()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in mapper.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return mapper.requires_grad_(False)


every = pytest.mark.parametrize("make", [linear, low_rank, gated])


@every
def test_a_mapper_starts_as_the_matrix_it_is_given(make):
    base = torch.randn(4, 6)
    torch.testing.assert_close(make()(base), base @ START.T)
    assert torch.equal(make().matrix(), START)


@every
def test_a_mapper_can_learn_from_its_start(make):
    mapper = make()
    mapper(torch.randn(4, 6)).square().sum().backward()
    assert any(parameter.grad.abs().sum() > 0 for parameter in mapper.parameters())


def test_training_leaves_the_start_as_it_was_given():
    mapper = linear()
    with torch.no_grad():
        mapper.weight.zero_()
    assert START.abs().sum() > 0


@pytest.mark.parametrize("make", [linear, low_rank])
def test_matrix_is_what_forward_multiplies_by(make):
    mapper = trained(make)
    torch.testing.assert_close(mapper(torch.eye(6)), mapper.matrix().T)


def test_a_gated_mapper_is_its_matrix_and_a_gated_mlp():
    mapper, base = trained(gated), torch.randn(4, 6)
    hidden = torch.nn.functional.gelu(base @ mapper.into.weight.T + mapper.into.bias)
    expected = base @ mapper.matrix().T + mapper.gate * (hidden @ mapper.out.weight.T)
    torch.testing.assert_close(mapper(base), expected)


@every
def test_save_and_load_give_the_same_mapper(make, tmp_path):
    mapper, base = trained(make), torch.randn(4, 6)
    save_mapper(mapper, tmp_path / "query.safetensors")
    loaded = load_mapper(tmp_path / "query.safetensors")
    assert type(loaded) is type(mapper)
    assert torch.equal(loaded(base), mapper(base))


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"kernel": torch.eye(3)},
        {"weight": torch.ones(3, 4)},
        {"weight": torch.ones(3)},
        {"weight": torch.eye(3), "bias": torch.ones(3)},
        {"up": torch.ones(3, 2), "down": torch.ones(3, 2)},
        {"start": torch.eye(3), "up": torch.ones(3, 2), "down": torch.ones(3, 1)},
        {"weight": torch.eye(3), "out.weight": torch.ones(3, 4), "gate": torch.ones(3)},
    ],
    ids=lambda tensors: (
        ",".join(f"{name}{list(tensor.shape)}" for name, tensor in tensors.items()) or "empty"
    ),
)
def test_tensors_that_are_no_mapper_are_refused_by_name(tensors, tmp_path):
    path = tmp_path / "query.safetensors"
    save_file(tensors, path)
    with pytest.raises(DataError, match="query.safetensors: holds"):
        load_mapper(path)


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\xff" * 40])
def test_a_file_that_is_not_safetensors_is_refused_by_name(content, tmp_path):
    path = tmp_path / "query.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="query.safetensors: not a readable mapper"):
        load_mapper(path)


def test_a_missing_mapper_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="query.safetensors"):
        load_mapper(tmp_path / "query.safetensors")
