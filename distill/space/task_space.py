"""The task space, in which a teacher's vectors and a student's task vectors can be compared.

It always has 512 dimensions, the teacher's own in the teacher's order. So a student's task vector can search an index
that the teacher built, and a prefix that the teacher was trained on stays one.
"""

import numpy as np

DIM = 512


def task_vectors(vectors: np.ndarray) -> np.ndarray:
    """The first 512 dimensions of a teacher's vectors [n, dim], unit length again: float32 [n, at most 512]."""
    cut = vectors[:, :DIM].astype(np.float32)
    unit: np.ndarray = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit


def task_target(vectors: np.ndarray) -> np.ndarray:
    """The target of a student's task vector, float32 [n, 512] of unit length, from the teacher's [n, dim].

    A teacher with more dimensions gives a prefix. A teacher with fewer gets zeros appended, which change no cosine.
    """
    cut = task_vectors(vectors)
    return np.pad(cut, ((0, 0), (0, DIM - cut.shape[1])))
