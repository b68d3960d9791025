"""What becomes of a model: what `adopt` and its bridge return, and what the cards tell."""

from collections.abc import Sequence
from dataclasses import dataclass

from unbraid.adopt.image_graphs import ImageGraphs
from unbraid.adopt.projection import Cost
from unbraid.adopt.text_graphs import TextGraphs
from unbraid.export.parity import Parity


@dataclass(frozen=True)
class Adopted:
    """What became of a model."""

    name: str
    dim: int
    text: TextGraphs
    query: TextGraphs | None
    image: ImageGraphs | None
    cost: Cost | None  # of a projection
    parities: Sequence[Parity]
    notes: Sequence[str]


@dataclass(frozen=True)
class Recall:
    """The share of held-out questions whose own text is among the ten nearest of `texts`, by who encodes which."""

    texts: int
    starter: float  # both by the starter
    model: float  # both by the model in its own space
    bridged: float  # both by the model, bridged
    model_asks: float  # questions by the bridged model, texts by the starter
    starter_asks: float  # questions by the starter, texts by the bridged model


@dataclass(frozen=True)
class Bridged:
    """What became of a model that was bridged."""

    name: str
    tier: str
    graphs: TextGraphs
    fitted_on: int
    source: str
    recall: Recall
    parities: Sequence[Parity]
    notes: Sequence[str]
