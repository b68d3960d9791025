"""Published text encoders as teachers, alone or joined: multilingual-e5-small, all-mpnet-base-v2, all-MiniLM-L6-v2."""

from unbraid.teacher.members.members_teacher import MembersTeacher, Translated

__all__ = ["MembersTeacher", "Translated"]
