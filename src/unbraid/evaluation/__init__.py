"""Scores of a model on retrieval, similarity and image sets, beside BM25, all-MiniLM-L6-v2 and chance."""

from unbraid.evaluation.datasets.dataset import Retrieval, Sts
from unbraid.evaluation.datasets.read_dataset import read_dataset
from unbraid.evaluation.evaluate import Row, evaluate, table, to_json
from unbraid.evaluation.late_interaction import evaluate_multi_vector
from unbraid.evaluation.teacher_scores import evaluate_teacher

__all__ = [
    "Retrieval",
    "Row",
    "Sts",
    "evaluate",
    "evaluate_multi_vector",
    "evaluate_teacher",
    "read_dataset",
    "table",
    "to_json",
]
