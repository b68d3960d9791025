"""The gain of a mapper fitted on folders without labels, on headings of files that the fit has not seen.

    python benchmarks/unlabelled.py FOLDER... [--seeds 5] [--model BUNDLE] [--tier TIER]

The pairs of each FOLDER are those of `unbraid mapper fit --folder`. Each seed holds out a third of them by whole files;
the others are fitted on. The headings that were held out search all texts of the folder. "alone" is the mode `retrieval`
of the model without a fitted mapper, and gains are over it. "worst" is the seed with the least gain.
"""

import argparse
import os
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # read when the libraries are first used

import numpy as np

import unbraid
from unbraid.custom_mapper.cross_validation import score, split_folds
from unbraid.custom_mapper.fit_mapper import fit_encoded, start_matrices
from unbraid.custom_mapper.folder_pairs import folder_pairs
from unbraid.custom_mapper.mapper_pairs import EncodedPairs, encode_pairs

MOST = 1200  # pairs of a folder
ALONE = "retrieval"


def hold_out(files: np.ndarray, seed: int) -> np.ndarray:
    """Which pairs [n] are held out, bool: a third of them, by whole files [n]."""
    names = np.random.default_rng(seed).permutation(np.unique(files))
    held = np.zeros(len(files), dtype=bool)
    for one in names:
        if held.sum() < len(files) / 3:
            held |= files == one
    return held


def part(data: EncodedPairs, rows: np.ndarray) -> EncodedPairs:
    """The pairs at `rows`, with the documents of these alone."""
    own = np.arange(len(rows))
    queries, documents = data.queries[data.left[rows]], data.documents[data.right[rows]]
    return EncodedPairs(queries, documents, own, own, np.full(len(rows), -1), None)


def main() -> None:
    """Print a row a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", help="a bundle; the starter if left out")
    parser.add_argument("--tier")
    arguments = parser.parse_args()
    model = unbraid.load(arguments.model, tier=arguments.tier)
    starts = start_matrices(model)
    print("| folder | pairs | files | no mapper | alone | gain, mean | worst | strengths |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    gains: list[float] = []
    for folder in arguments.folders:
        pairs = folder_pairs(folder, model.modalities)
        if len(pairs) > MOST:
            pairs = pairs.take(np.sort(np.random.default_rng(0).permutation(len(pairs))[:MOST]))
        assert pairs.files is not None
        data = encode_pairs(model, pairs, False)
        rows = []
        for seed in range(arguments.seeds):
            held = hold_out(pairs.files, seed)
            fitted, asked = np.flatnonzero(~held), np.flatnonzero(held)
            folds = split_folds(pairs.files[fitted], seed)
            query, document, about = fit_encoded(part(data, fitted), folds, starts, False)
            plain, alone, after = (
                score(data.mapped(*one), asked).mean()
                for one in (starts["identity"], starts[ALONE], (query, document))
            )
            rows.append((plain, alone, after - alone, about["strength"], about["start"]))
        plain, alone, gain, strengths, begun = zip(*rows, strict=True)
        gains.append(float(np.mean(gain)))
        chosen = ", ".join(f"{one:g} over {start}" for one, start in zip(strengths, begun, strict=True))
        print(
            f"| {folder.name} | {len(pairs)} | {len(np.unique(pairs.files))} | {np.mean(plain):.3f} "
            f"| {np.mean(alone):.3f} | {np.mean(gain):+.4f} | {min(gain):+.4f} | {chosen} |",
            flush=True,
        )
    print(f"\nmean of the folders: {np.mean(gains):+.4f}")


if __name__ == "__main__":
    main()
