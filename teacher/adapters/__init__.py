"""Train a teacher's LoRA adapters with the paper's recipe: one adapter on pairs, then a copy of it for each task."""

from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()  # before anything here imports accelerate or peft

from unbraid.teacher.adapters.adapter_recipe import read_recipe
from unbraid.teacher.adapters.all_stages import train_adapters

__all__ = ["read_recipe", "train_adapters"]
