"""Weights of towers from packages: found, checked, and loaded in order under other names."""

import hashlib

import pytest
import torch
from torch import nn

from unbraid.base_encoders import packaged_tower
from unbraid.base_encoders.image_encoder import start_image_encoder
from unbraid.base_encoders.packaged_tower import PackagedTower, load_in_order, packaged_weights
from unbraid.errors import DataError
from unbraid.io.package_files import PackageFile
from unbraid.runtime.preprocess import ImagePreprocess

NAME = "test_efficientnet.r160_in1k"
PREPROCESS = ImagePreprocess(32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def weights(installed_packages, tmp_path, monkeypatch):
    """The tensors of a tower and its classifier, under other names, in a package that is installed."""
    tower = start_image_encoder("timm:test_efficientnet", dim=4, preprocess=PREPROCESS).tower
    tensors = {f"_{number}": tensor for number, tensor in enumerate(tower.state_dict().values())}
    tensors |= {"_fc.weight": torch.zeros(10, 4), "_fc.bias": torch.zeros(10)}
    torch.save(tensors, tmp_path / "tower.pth")
    sha256 = hashlib.sha256((tmp_path / "tower.pth").read_bytes()).hexdigest()
    plan = PackagedTower(PackageFile("some-tower", "1.0", "tower.pth"), sha256)
    installed_packages.add("some-tower")
    monkeypatch.setattr(packaged_tower, "PACKAGED_TOWERS", {NAME: plan})
    return tensors


def test_a_published_tower_has_the_weights_of_the_installed_package(weights):
    encoder = start_image_encoder(f"timm:{NAME}", dim=4, preprocess=PREPROCESS, published=True)
    for found, expected in zip(encoder.tower.state_dict().values(), weights.values(), strict=False):
        assert torch.equal(found, expected)


def test_a_tower_that_no_package_holds_has_no_packaged_weights(weights):
    assert packaged_weights("resnet18.a1_in1k") is None


def test_a_package_that_is_not_installed_gives_no_weights(weights, installed_packages):
    installed_packages.clear()
    assert packaged_weights(NAME) is None


def test_a_damaged_file_is_refused(weights, tmp_path):
    (tmp_path / "tower.pth").write_bytes(b"other")
    with pytest.raises(DataError, match=r"some-tower==1.0: sha256 is .*, expected .*--force-reinstall"):
        packaged_weights(NAME)


def test_weights_of_another_shape_are_refused_by_name():
    with pytest.raises(DataError, match=r"_w has the shape \[3, 2\], and weight of this tower \[2, 2\]"):
        load_in_order(nn.Linear(2, 2), {"_w": torch.zeros(3, 2), "_b": torch.zeros(2)})


def test_too_few_weights_are_refused():
    with pytest.raises(DataError, match="1 tensors for a tower that has 2"):
        load_in_order(nn.Linear(2, 2), {"_w": torch.zeros(2, 2)})
