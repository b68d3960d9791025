"""A recipe for adapters: the typed contents of one TOML file, saved beside the adapters it made."""

from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import field

from unbraid.errors import DataError
from unbraid.training.recipe_file import Table, read_recipe_file

PAIR = "pair"  # name of the first stage and of its adapter
Adapter: TypeAlias = Literal["retrieval", "text-matching", "code"]


class Source(Table, frozen=True):
    """One data file of pairs, and which of its fields are the two sides."""

    file: str  # below the data folder
    licence: str
    # What the positive is; graded: two texts and a score.
    kind: Literal["text", "code", "picture", "graded"] = "text"
    anchor: str = "anchor"
    positive: str = "positive"
    limit: int = 0  # at most this many rows, a seeded sample; 0 = all
    sets: tuple[str, ...] = ()  # of files with a field `set`: rows of these sets
    alias: str = ""  # what stages call it, where one file is several sources

    @property
    def name(self) -> str:
        """What stages call it: the alias, else the file."""
        return self.alias or self.file


class Weights(Table, frozen=True):
    """Weights of the joint loss. The paper does not publish its own."""

    dense: float = 1.0  # NCE of the single vectors
    late: float = 0.2  # NCE of the multi-vectors
    agreement: float = 0.1  # KL between the two score distributions
    recovery: float = 1.0  # 1 - cosine to the unadapted vector: what keeps an adapter near the backbone


class Stage(Table, frozen=True):
    """The training of one adapter. The tasks' adapters start from that of the `pair` stage."""

    sources: tuple[str, ...]
    steps: int
    held_out: tuple[
        str, ...
    ] = ()  # whole sources that are never trained on: they choose the step and the scale
    batch: int = 64  # pairs
    negatives: int = 0  # mined hard negatives a query
    learning_rate: float = 2e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    temperature: float = 0.05
    graded_temperature: float = 0.05  # of CoSENT
    weights: Weights = Weights()
    check_every: int = 100  # steps between held-out scores


class Recipe(Table, frozen=True):
    """Everything that decides the adapters, except the data files themselves."""

    name: str
    version: str
    seed: int
    backbone: str  # minilm, or a folder or hub id of a Qwen2.5-VL
    pair: Stage
    source: tuple[Source, ...] = ()
    task: dict[Adapter, Stage] = field(default_factory=dict)
    rank: int = 32
    alpha: int = 32
    dropout: float = 0.0
    prefixes: tuple[int, ...] = (64, 128, 256)  # beside the full width, Matryoshka
    max_tokens: int = 128  # of a training item
    batch_tokens: int = 2048  # padded tokens that go through the backbone at once
    # Hold the activations of one part of a batch at a time, for one more forward pass.
    gradient_cache: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the matrix products
    false_negative: float = 0.95  # a negative above this share of its positive's score counts as a positive
    tolerance: float = 0.004  # how much a held-out source may lose in a version that is kept
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)  # of the adapter, tried at the end
    card: tuple[str, ...] = ()  # sentences for the card

    @property
    def stages(self) -> dict[str, Stage]:
        """The pair stage, then each task's, by adapter name."""
        return {PAIR: self.pair, **{str(name): stage for name, stage in self.task.items()}}


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at `path`; a bare name such as "starter" means the one shipped in adapters/recipes.

    Raises DataError for a file that is not TOML, for fields that are unknown, missing or of another type, for two
    sources of one name, for no task, and for a stage without sources or steps, with a file that no [[source]] states,
    or with a file that is both trained on and held out.
    """
    path, recipe = read_recipe_file(path, Recipe, shipped=Path(__file__).parent / "recipes")
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
