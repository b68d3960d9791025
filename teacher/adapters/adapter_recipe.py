"""A recipe for adapters: the typed contents of one TOML file, saved whole beside what it made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from unbraid.errors import DataError
from unbraid.training.recipe import read_toml, read_typed

PAIR = "pair"  # name of the first stage and of its adapter
Adapter: TypeAlias = Literal["retrieval", "text-matching", "code"]


@dataclass(frozen=True)
class Source:
    """One data file of pairs, and which of its fields are the two sides."""

    file: str  # below the data folder
    licence: str
    kind: Literal["text", "code", "picture", "graded"] = (
        "text"  # what the positive is; graded: two texts and a score
    )
    anchor: str = "anchor"
    positive: str = "positive"
    limit: int = 0  # at most this many rows, a seeded sample; 0 = all
    only: tuple[str, ...] = ()  # of files with a field `set`: rows of these sets
    alias: str = ""  # what stages call it, where one file is several sources

    @property
    def name(self) -> str:
        """What stages call it: the alias, else the file."""
        return self.alias or self.file


@dataclass(frozen=True)
class Weights:
    """Weights of the joint loss. The paper does not publish its own."""

    dense: float = 1.0  # NCE of the single vectors
    late: float = 0.2  # NCE of the multi-vectors
    agreement: float = 0.1  # KL between the two score distributions
    recovery: float = 1.0  # 1 - cosine to the unadapted vector: what keeps an adapter near the backbone


@dataclass(frozen=True)
class Stage:
    """One adapter's training. Stage 1 (`pair`) has no hard negatives; its adapter is what the tasks start from."""

    sources: tuple[str, ...]
    steps: int
    held_out: tuple[
        str, ...
    ] = ()  # whole sources that are never trained on: they choose the step and the strength
    batch: int = 64  # pairs
    negatives: int = 0  # mined hard negatives a query
    learning_rate: float = 2e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    temperature: float = 0.05
    graded_temperature: float = 0.05  # of CoSENT
    weights: Weights = Weights()
    check_every: int = 100  # steps between held-out scores


@dataclass(frozen=True)
class Recipe:
    """Everything that decides three adapters, but the data files themselves."""

    name: str
    version: str
    seed: int
    backbone: str  # minilm, or a folder or hub id of a Qwen2.5-VL
    source: tuple[Source, ...]
    pair: Stage
    task: dict[Adapter, Stage]
    rank: int = 32
    alpha: int = 32
    dropout: float = 0.0
    prefixes: tuple[int, ...] = (64, 128, 256)  # beside the full width, Matryoshka
    max_tokens: int = 128  # of a training item
    batch_tokens: int = 2048  # padded tokens that go through the backbone at once
    gradient_cache: bool = (
        False  # hold the activations of one part of a batch at a time, for one more forward pass
    )
    precision: Literal["float32", "bfloat16"] = "float32"  # of the matrix products
    false_negative: float = (
        0.95  # a negative scored above this share of its positive's score is taken for a positive
    )
    tolerance: float = 0.004  # least gain that a held-out source may have for a step to be kept
    strengths: tuple[float, ...] = (1.0, 0.75, 0.5)  # shares of the adapter tried at the end
    card: tuple[str, ...] = ()  # sentences for the card

    @property
    def stages(self) -> dict[str, Stage]:
        """The pair stage, then each task's, by adapter name."""
        return {PAIR: self.pair, **{str(name): stage for name, stage in self.task.items()}}


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at `path`; a bare name such as "starter" means the one shipped in adapters/recipes.

    Raises DataError for a file that is not TOML, an unknown key, a missing one, a value of another type, two sources
    of one name, no task, a stage without sources, steps or pairs, one that names a file without a [[source]], and
    one that both trains on a file and is judged by it.
    """
    values = read_toml(path, Path(__file__).parent / "recipes")
    recipe: Recipe = read_typed({"source": [], "task": {}} | values, Recipe, str(path))
    names = [source.name for source in recipe.source]
    known = set(names)
    if twice := sorted(name for name in known if names.count(name) > 1):
        raise DataError(f"{path}: two sources are named {', '.join(twice)}: give one an alias")
    if not recipe.task:
        raise DataError(f"{path}: there is no [task.NAME]")
    for name, stage in recipe.stages.items():
        if not stage.sources or min(stage.steps, stage.batch, stage.check_every) < 1:
            raise DataError(
                f"{path}: {name}: expected sources, and steps, batch and check_every of at least 1"
            )
        if unknown := sorted({*stage.sources, *stage.held_out} - known):
            raise DataError(
                f"{path}: {name}: {', '.join(unknown)} used without a [[source]] that states its licence"
            )
        if both := sorted(set(stage.held_out) & {*stage.sources, *recipe.pair.sources}):
            raise DataError(f"{path}: {name}: {', '.join(both)} is both trained on and held out")
    return recipe
