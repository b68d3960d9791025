"""Scores of a model on retrieval, similarity and image sets, beside BM25, all-MiniLM-L6-v2 and chance."""

from unbraid.evaluation.conflict import conflict_rows
from unbraid.evaluation.datasets import Retrieval, Sts
from unbraid.evaluation.evaluate import Row, evaluate, table, to_json
from unbraid.evaluation.formats import read_dataset

__all__ = ["Retrieval", "Row", "Sts", "conflict_rows", "evaluate", "read_dataset", "table", "to_json"]
