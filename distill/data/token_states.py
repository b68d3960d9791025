"""The last token states and the base vectors that a bundle's encoder gives many texts, kept on disk block by block."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.base_encoders.graph_states import open_with_states
from unbraid.io.atomic import atomic_file
from unbraid.progress import track
from unbraid.runtime.batching import token_budget_batches
from unbraid.runtime.text import TextRuntime

BLOCK = 4096  # texts in a stored file: what an interruption costs


@dataclass(frozen=True)
class TokenStates:
    """States float16 of n texts; `ids` are their tokens, `base` float32 [n, D] their base vectors."""

    blocks: Sequence[np.ndarray]
    starts: np.ndarray  # of each text in its block
    ids: Sequence[Sequence[int]]
    base: np.ndarray

    def __len__(self) -> int:
        """How many texts there are."""
        return len(self.ids)

    def __getitem__(self, row: int) -> np.ndarray:
        """The states [tokens, width] of a text, read from disk."""
        start = self.starts[row]
        return self.blocks[row // BLOCK][start : start + len(self.ids[row])]


def token_states(encoder: TextRuntime, ids: Sequence[Sequence[int]], folder: Path) -> TokenStates:
    """Run `encoder` on token ids; blocks that are stored in `folder` are not run again."""
    folder.mkdir(parents=True, exist_ok=True)
    session, output = open_with_states(encoder.graph)
    made_by = hashlib.sha256(encoder.graph.read_bytes()).digest()
    states, base, starts = [], [], []
    for first in track(range(0, len(ids), BLOCK), "token states", unit="blocks"):
        block = ids[first : first + BLOCK]
        name = hashlib.sha256(made_by + repr([list(one) for one in block]).encode()).hexdigest()[:16]
        ends = np.cumsum([len(one) for one in block])
        starts.append(np.concatenate([[0], ends[:-1]]))
        path = folder / f"{name}.states.npy"
        if not path.exists():
            vectors: dict[int, np.ndarray] = {}
            tokens: dict[int, np.ndarray] = {}
            for rows in token_budget_batches([len(one) for one in block], budget=encoder.spec.batch_tokens):
                given = encoder.feed([block[row] for row in rows])
                found, hidden = session.run(["base_vector", output], given)
                for place, row in enumerate(rows):
                    vectors[row] = found[place]
                    tokens[row] = hidden[place, : len(block[row])].astype(np.float16)
            _save(folder / f"{name}.base.npy", np.stack([vectors[row] for row in range(len(block))]))
            _save(path, np.concatenate([tokens[row] for row in range(len(block))]))
        states.append(np.load(path, mmap_mode="r"))
        base.append(np.load(folder / f"{name}.base.npy"))
    return TokenStates(states, np.concatenate(starts), ids, np.concatenate(base))


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_file(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array)
