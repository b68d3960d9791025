"""Teachers: models whose task vectors the students learn. `load` finds one by name, folder or hub id."""

from unbraid.torchvision_shim import ensure_torchvision

ensure_torchvision()  # before anything here imports transformers or peft

from unbraid.teacher.encoder import AdapterTeacher  # noqa: E402
from unbraid.teacher.loading import load  # noqa: E402
from unbraid.teacher.protocol import Teacher  # noqa: E402

__all__ = ["AdapterTeacher", "Teacher", "load"]
