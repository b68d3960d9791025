"""Teachers: models whose task vectors the students learn. `load` finds one by name or folder."""

from unbraid.teacher.minilm import MiniLMTeacher, load
from unbraid.teacher.protocol import Teacher

__all__ = ["MiniLMTeacher", "Teacher", "load"]
