"""Give a few hundred pairs and unbraid fits a search mode on vectors you already stored.

1. Start: base vectors as they are, or a search mode of the bundle where that mode is surely better on these pairs.
2. Fit (fit_matrix.py): one matrix W for both sides, on top of the start.
3. Strength (cross_validation.py): folds that share no text choose how far to go from the start to W. The start wins
   where no strength is surely better.

Surely better is a mean gain over queries (or graded pairs) of more than two standard errors. With that rule no fit lost
on held-out queries; with one standard error a few did (docs/experiments.md).
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.custom_mapper.cross_validation import (
    FOLDS,
    STRENGTHS,
    agreement,
    check_groups,
    choose_strength,
    cross_validate,
    fit,
    score,
    split_folds,
    standard_error,
    surely_better,
)
from unbraid.custom_mapper.mapper_file import IDENTITY, CustomMapper, check_name
from unbraid.custom_mapper.mapper_pairs import EncodedPairs, Pairs, encode_pairs, read_pairs
from unbraid.embedder import Embedder
from unbraid.errors import DataError, ItemError

MOST = 5000  # pairs that are used; of more, a seeded sample


def fit_mapper(
    model: Embedder, pairs: Pairs | Path | str, name: str, *, seed: int = 0, progress: bool | None = None
) -> CustomMapper:
    """A search mode `name` fitted on `pairs`, a file of them, or a folder without labels (folder_pairs.py).

    `about` holds its cross-validated scores. It is never knowingly worse than the best mode of `model`. Raises ItemError
    for a name that is invalid or taken, DataError for pairs that cannot be read or cross-validated.
    """
    if check_name(name) in (IDENTITY, *model.tasks, *model.search_modes):
        raise ItemError(f"{name!r} is a task or search mode of {model.name} already: choose another name")
    if not isinstance(pairs, Pairs):
        pairs = read_source(Path(pairs), model.modalities)
    total = len(pairs)
    if total > MOST:
        pairs = pairs.take(np.sort(np.random.default_rng(seed).permutation(total)[:MOST]))
    groups = pairs.groups()
    check_groups(groups, by_file=pairs.files is not None)
    folds = split_folds(groups, seed)
    if pairs.grades is not None and len(np.unique(pairs.grades)) < 2:
        raise DataError("every pair has the same score: nothing tells alike from unlike")
    data = encode_pairs(model, pairs, progress)
    starts = start_matrices(model)
    two_encoders = model.query_tier != model.tier
    if two_encoders and pairs.grades is not None:
        # Both sides are encoded as documents, so a mode with a task for queries is no start.
        starts = {start: sides for start, sides in starts.items() if sides[0] is sides[1]}
    query, document, about = fit_encoded(data, folds, starts, progress)
    # One task for both sides would say that they are encoded alike (query_side of runtime/routing.py).
    shared = document is query and (pairs.grades is not None or not two_encoders)
    about = {**about, "pairs_given": total, "bundle": model.name, **_found_in(pairs)}
    return CustomMapper(name, model.base_id, query, None if shared else document, about)


def read_source(place: Path, modalities: Collection[str]) -> Pairs:
    """The pairs in a file, or those of `modalities` that are found in a folder. Raises DataError for neither."""
    if not place.is_dir():
        return read_pairs(place)
    from unbraid.custom_mapper.folder_pairs import folder_pairs  # loads the readers of an index

    return folder_pairs(place, modalities)


def _found_in(pairs: Pairs) -> dict[str, Any]:
    """For `about`: the files that pairs were found in, and how many there are of each kind; {} for pairs that were given."""
    if pairs.files is None:
        return {}
    from unbraid.custom_mapper.folder_pairs import count_kinds

    return {"files": len(np.unique(pairs.files)), "found": count_kinds(pairs)}


def start_matrices(model: Embedder) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(query matrix, document matrix) of each possible start: the identity and every search mode.

    A mapper that is not linear gives its linear part. The two are one object where the sides are mapped alike.
    """
    identity = np.eye(model.dim, dtype=np.float32)
    modes = {
        mode: (model.matrix(query), model.matrix(document))
        for mode, (query, document) in model.search_modes.items()
    }
    return {IDENTITY: (identity, identity), **modes}


def fit_encoded(
    data: EncodedPairs,
    folds: np.ndarray,
    starts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    progress: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """`fit_mapper` on vectors: query matrix, document matrix (the same object for one mapper) and scores."""
    parts = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    existing = {}
    for name, matrices in starts.items():
        mapped = data.mapped(*matrices)
        existing[name] = np.concatenate([score(mapped, rows) for rows in parts])
    start = max(existing, key=lambda name: float(existing[name].mean()))
    if not surely_better(existing[start] - existing[IDENTITY]):
        start = IDENTITY
    query, document = starts[start]
    started = data.mapped(query, document)
    scores, fold_of = cross_validate(started, folds, progress)
    choice = choose_strength(scores)
    before, after, strength = scores[0], scores[choice], STRENGTHS[choice]
    if strength:
        step = np.eye(len(query), dtype=np.float32)
        step += np.float32(strength) * (fit(started, np.arange(len(data.left))) - step)
        shared = document is query
        query = step @ query
        document = query if shared else step @ document
    about = {
        "kind": "answers" if data.grades is None else "grades",
        "pairs": len(data.left),
        "negatives": int((data.negative >= 0).sum()),
        "start": start,
        "strength": strength,
        "metric": "nDCG@10" if data.grades is None else "Spearman",
        "existing": {name: float(one.mean()) for name, one in existing.items()},
        "before": float(before.mean()),
        "after": float(after.mean()),
        "standard_error": standard_error(after - before),
        "folds": [[float(side[fold_of == fold].mean()) for side in (before, after)] for fold in range(FOLDS)],
        "agreement": agreement(data, (query, document), starts),
    }
    return query, document, about
