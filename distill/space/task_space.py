"""The task space: where a teacher's vectors of a task and a student's task vectors can be compared.

It has 512 dimensions whatever the teacher has, and they are the teacher's own, in its order: a student's task vector
searches an index that the teacher built, and a prefix that the teacher was trained on stays one.
"""

import numpy as np

DIM = 512


def task_vectors(vectors: np.ndarray) -> np.ndarray:
    """The first 512 dimensions of a teacher's vectors [n, dim], unit length again: float32 [n, at most 512]."""
    cut = vectors[:, :DIM].astype(np.float32)
    unit: np.ndarray = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return unit


def task_target(vectors: np.ndarray) -> np.ndarray:
    """What a student's task vector should be, float32 [n, 512] of unit length, given the teacher's [n, dim].

    Of a teacher with more dimensions it is a prefix, of one with fewer its vector with zeros behind, which change no
    cosine.
    """
    cut = task_vectors(vectors)
    return np.pad(cut, ((0, 0), (0, DIM - cut.shape[1])))
