"""The token vectors of a teacher, for the commands that score late interaction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unbraid.errors import DataError

if TYPE_CHECKING:
    from unbraid.evaluation.late_interaction import TeacherTokens


def token_vectors_of(teacher: Any, name: str) -> "TeacherTokens":
    """Items and a task -> the teacher's token vectors. Any: an unbraid.teacher, whose module loads torch.

    Raises DataError for a joined teacher, which has none.
    """
    from unbraid.teacher import AdapterTeacher

    if not isinstance(teacher, AdapterTeacher):
        raise DataError(
            f"the teacher {name} has no multi-vectors: choose starter, or a checkpoint of jina-embeddings-v4"
        )

    def tokens(items: Sequence[Any], task: str) -> list[Any]:
        return teacher.encode(items, task, multi_vector=True)

    return tokens
