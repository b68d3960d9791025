"""Teachers: models whose task vectors the students learn. `load` takes a name, a folder or a hub id."""

from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()  # before anything here imports transformers or peft

from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.loading import load
from unbraid.teacher.protocol import Teacher

__all__ = ["AdapterTeacher", "Teacher", "load"]
