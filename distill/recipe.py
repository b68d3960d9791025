"""A recipe: the typed contents of one TOML file, saved whole beside everything it made."""

from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import field

from unbraid.base_encoders.tower_name import read_tower_name
from unbraid.bundle import SMALL
from unbraid.distill.data.item_sources import HELD_OUT, SOURCES
from unbraid.errors import DataError
from unbraid.teacher.members.member_spec import MEMBERS
from unbraid.training.recipe_file import Table, read_recipe_file

SearchMode: TypeAlias = Literal["retrieval", "symmetric", "code"]
TextTier: TypeAlias = Literal["small", "base", "multi"]


class Source(Table, frozen=True):
    """One data file and which of its fields are texts and which are code."""

    file: str  # below the data folder
    licence: str
    text: tuple[str, ...] = ()  # fields that hold a text
    code: tuple[str, ...] = ()  # fields that hold code; its target leans on the row's `anchor` text
    sentences: bool = False  # also use every sentence of the texts as an item
    limit: int = 0  # at most this many rows, a seeded sample; 0 = all


class TextTraining(Table, frozen=True):
    """How one tier of text and code is trained."""

    # "minilm", another member of a joined teacher, a folder (here or below the data folder) or the hub id of a
    # transformers encoder.
    backbone: str = "minilm"
    layers: tuple[int, ...] = (0, 2, 5)  # backbone layers kept, all of them if empty
    feed_forward: int = 0  # neurons kept of each feed-forward layer; 0 = all
    vocabulary: int = 0  # pieces kept of a Unigram vocabulary, balanced between languages; 0 = all
    english: bool = False  # train on texts that runtime/text_language.py takes for English, and on code
    split_identifiers: bool = True  # camelCase names of code
    frozen_embeddings: bool = False  # rows of rare tokens stay as they were pre-trained
    pooled_layers: int = 3  # the last ones, whose mean hidden states the projection reads
    start: Literal["ridge", "isometry"] = "ridge"  # of the projection; see train_text.start
    max_tokens: int = 256
    batch: int = 128  # items in one step
    neighbours: int = 32  # of them, that are near each other in the base space
    batch_tokens: int = 2048  # padded tokens that go through the encoder together
    long_share: float = 1.0  # of the items of more than 128 tokens that an epoch uses
    epochs: tuple[int, ...] = (2,)  # of each cosine cycle; a cycle starts from half the last one's rate
    learning_rate: float = 5e-4
    projection_learning_rate: float = 1e-3
    warmup: float = 0.03  # share of a cycle's steps
    kl_weight: float = 0.5  # scores of the students among themselves against the targets', temperature 0.05
    cross_weight: float = 0.5  # scores of the students against the targets', temperature 0.05
    prefix_weight: float = 0.25  # cosine at each Matryoshka prefix
    code_anchor: float = 0.5  # share of the description's vector in the target of a code snippet
    average: float = (
        0.0  # decay a step of the running average of the weights that is kept; 0 = the last weights
    )
    # Shares of the trained weights that are tried, the rest being those of the start; the unseen sets choose one.
    shares: tuple[float, ...] = (1.0,)


class StaticTraining(Table, frozen=True):
    """How the nano tier, a static encoder, is trained; tokens and targets are those of the text student."""

    width: int = 256  # of a token's row
    # Further English texts and code of a joined teacher's items, whose targets the tier base (or small) encodes.
    items: int = 0
    epochs: int = 3
    batch: int = 1024
    learning_rate: float = 2e-3
    projection_learning_rate: float = 5e-4
    warmup: float = 0.05  # share of the steps
    kl_weight: float = 0.1  # in-batch score distribution, temperature 0.05
    prefix_weight: float = 0.25  # cosine at each Matryoshka prefix


class DrawnKinds(Table, frozen=True):
    """A second stage of a tower's training, on drawings of kinds that a search confuses (distill/train_drawings.py)."""

    kinds: dict[str, int]  # of drawing, and how many are drawn of each
    steps: int
    learning_rate: float = 3e-4
    projection_learning_rate: float = 5e-4
    warmup: float = 0.03
    average: float = 0.99  # decay of the running average of the weights, which is kept
    temperature: float = 0.04
    neighbour_weight: float = 0.3
    hold: float = 6.0  # weight of keeping photographs where the first stage put them


class ImageTraining(Table, frozen=True):
    """How the image tower is trained."""

    # With a tag, as in timm:MODEL.TAG or open_clip:MODEL/TAG, it starts from published weights; its batch normalizations
    # then keep their statistics.
    tower: str = "timm:mobilenetv4_conv_small"
    frozen: tuple[str, ...] = ()  # beginnings of the names of weights that stay, such as "blocks.0"
    size: int = 128  # pixels, square, the whole picture padded with white
    first_size: int = 0  # in the first half of the epochs: fewer pixels are faster; 0 = size
    # At which the trained tower is used; 0 = size. Convolutions find more at some more pixels than they were trained with,
    # since random crops enlarge what they show (Touvron et al. 2019, arXiv 1906.06423).
    used_size: int = 0
    photos: tuple[str, ...] = ()  # NAME for NAME.tar beside NAME.jsonl.gz
    unseen: tuple[
        str, ...
    ] = ()  # the same; whole files that are never trained on and score the tower while it is
    drawings: int = 0  # pictures made by unbraid.distill.drawings
    epoch_drawings: int = 0  # drawings an epoch, the next epoch takes the next ones; 0 = all in each
    # For `unbraid train tower`: "bundle" trains the bundle's own tower further.
    start: Literal["new", "bundle"] = "new"
    # Share of the teacher's own vector of the picture in its target; above 0 pictures are labelled.
    own_vector: float = 0.0
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 1e-3
    projection_learning_rate: float = 0.0  # 0 = learning_rate
    weight_decay: float = 0.05
    warmup: float = 0.05
    average: float = 0.0  # decay of the running average of the weights, which is kept; 0 = the last weights
    contrastive_weight: float = 1.0
    temperature: float = 0.07
    neighbour_weight: float = 0.0  # in-batch scores against the captions', temperature as above
    mixup: float = 0.0  # both parameters of the beta distribution of the mixed shares; 0 = no mixing
    queue: int = 4096  # caption vectors kept as negatives
    second: DrawnKinds | None = None


class MapperTraining(Table, frozen=True):
    """How the mappers of one search mode are fitted on cached base vectors."""

    kind: Literal["linear", "low-rank", "gated"]
    loss: Literal["ranking", "cosent"]  # of pairs, of graded pairs
    files: tuple[str, ...]
    held_out: tuple[str, ...] = ()  # whole files that choose the step, beside the dev rows of `files`
    rank: int = 32  # of a low-rank change; hidden units of a gated mapper
    steps: int = 400
    batch: int = 512
    learning_rate: float = 1e-3
    recovery: float = 1.0  # weight of (1 - cosine to what the read-out alone gives)
    prefixes: tuple[int, ...] = (64, 128, 256)  # beside the full width, Matryoshka
    modality: Literal["text", "code"] = "text"  # of the positives
    captions: tuple[
        str, ...
    ] = ()  # NAME for NAME.tar beside NAME.jsonl.gz: captions and pictures are pairs too


class Look(Table, frozen=True):
    """What a second look by a head counts (unbraid.bundle.MultiVectorSpec), by benchmarks/second_look.py."""

    tokens: float = 7.0
    whole: float = 0.0


class HeadTraining(Table, frozen=True):
    """How the multi-vector heads of a finished bundle are trained (distill/train_heads.py)."""

    tiers: tuple[TextTier, ...] = ("base", "small")
    texts: tuple[str, ...] = ()  # files of pairs whose documents are texts
    code: tuple[str, ...] = ()  # and code
    rows: int = 10_000  # of each file at most
    dim: int = 64  # numbers in a token's vector
    inner: int = 192  # numbers that attend, a multiple of 32; 0: no attention
    hidden: int = 192  # numbers between the linear layers; 0: none
    query_tokens: int = 40  # that are read of a text
    document_tokens: int = 128
    steps: int = 3000
    groups: int = 6  # neighbourhoods in a batch
    neighbours: int = 7  # beside the first pair of each
    learning_rate: float = 1e-3
    warmup: float = 0.03  # share of the steps
    average: float = 0.996  # decay of the running average of the weights, which is kept
    alone_weight: float = 0.3  # of late interaction without the base vectors' and words' part
    kl_weight: float = 1.0  # scores of labelled pairs against the teacher's, temperature 0.05
    states_weight: float = 0.0  # late interaction against that of whole states, temperature 0.03


class Recipe(Table, frozen=True):
    """Everything that decides a bundle, except the data files themselves."""

    name: str
    version: str
    seed: int
    # A name, a folder (here or below the data folder) or a hub id; "" in a recipe for `unbraid train tower`.
    teacher: str = ""
    # Members of a joined teacher and their weights, in place of `teacher`. Its texts and code are those of
    # item_sources.SOURCES.
    members: dict[str, float] = field(default_factory=dict)
    items: int = 0  # label and train on this many of the sources' items, a seeded sample; 0 = all
    # Of the matrix products of teacher and training; "auto" is bfloat16 where the device has it in hardware.
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    source: tuple[Source, ...] = ()
    text: dict[TextTier, TextTraining] = field(default_factory=lambda: {"small": TextTraining()})
    # Of English texts and code where a user names no tier; documents and queries may differ, since one space holds both.
    document_tier: TextTier = "small"
    query_tier: TextTier = "small"
    unseen: tuple[str, ...] = ()  # dev sets of item_sources.HELD_OUT that score a tier while it is trained
    image: ImageTraining = ImageTraining()
    mapper: dict[SearchMode, MapperTraining] = field(default_factory=dict)
    nano: StaticTraining | None = None  # without it text has one tier
    head: HeadTraining | None = None  # for `unbraid train heads`
    # Whose token vectors an index is to store, of passages that any tier encodes. "": what the bundle says stays.
    look_tier: TextTier | Literal[""] = ""
    look: dict[TextTier, Look] = field(default_factory=dict)
    backbone_licence: str = ""  # for the card: name and licence of the weights that the students start from
    tower_licence: str = ""  # of the image tower's published weights; required where its name has any
    limits: tuple[str, ...] = ()  # for the card: what a user should not expect


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at `path`; a bare name such as "starter" means the one shipped in distill/recipes.

    Raises DataError for a file that is not TOML, for fields that are unknown, missing or of another type, without the
    tier "small", for unseen sets that do not exist, for a data file without a source that states its licence, and for
    published weights without a licence.
    """
    path, recipe = read_recipe_file(path, Recipe, shipped=Path(__file__).parent / "recipes")
    if SMALL not in recipe.text:
        tiers = ", ".join(f"[text.{tier}]" for tier in recipe.text) or "[text]"
        raise DataError(f"{path}: {tiers} without [text.{SMALL}]: every bundle has that tier, add it")
    if unknown := [name for name in recipe.unseen if not _is_dev_set(name)]:
        names = dict.fromkeys(f"{held.name}.LANG" if held.by else held.name for held in HELD_OUT)
        raise DataError(f"{path}: unseen: no dev set {', '.join(unknown)}: expected {', '.join(names)}")
    if untrained := sorted({recipe.document_tier, recipe.query_tier} - set(recipe.text)):
        raise DataError(
            f"{path}: document_tier or query_tier is {untrained[0]}, and there is no [text.{untrained[0]}]"
        )
    for tier, config in recipe.text.items():
        if not config.shares or not all(0 < share <= 1 for share in config.shares):
            raise DataError(
                f"{path}: shares of [text.{tier}] are {list(config.shares)}: expected numbers from 0 to 1"
            )
        if len(config.shares) > 1 and not recipe.unseen:
            raise DataError(
                f"{path}: [text.{tier}] tries several shares, and no unseen set is named to choose one"
            )
    if recipe.nano and recipe.nano.items and not recipe.members:
        raise DataError(f"{path}: nano.items are those of a joined teacher: it needs [members]")
    if recipe.members and recipe.teacher:
        raise DataError(f"{path}: names the teacher {recipe.teacher} and members: expected one of them")
    if unknown := sorted(recipe.members.keys() - MEMBERS.keys()):
        raise DataError(f"{path}: unknown member {', '.join(unknown)}: expected some of {', '.join(MEMBERS)}")
    used = {file for mapper in recipe.mapper.values() for file in (*mapper.files, *mapper.held_out)}
    pictures = {
        *recipe.image.photos,
        *recipe.image.unseen,
        *(name for mapper in recipe.mapper.values() for name in mapper.captions),
    }
    used |= {f"{name}.jsonl.gz" for name in pictures}
    trained = recipe.head.tiers if recipe.head else ()
    if strange := sorted({*recipe.look, *filter(None, [recipe.look_tier])} - {*trained}):
        raise DataError(f"{path}: look or look_tier names {strange[0]}, and [head] trains {list(trained)}")
    for tier, look in recipe.look.items():
        if not (0 < look.tokens < 1_000 and 0 <= look.whole < 1_000):
            raise DataError(
                f"{path}: [look.{tier}] has tokens {look.tokens} and whole {look.whole}: expected tokens over 0, whole from 0, "
                "both below 1,000"
            )
    if recipe.head:
        used |= {*recipe.head.texts, *recipe.head.code}
    if unlicensed := sorted(used - recipe_licences(recipe).keys()):
        raise DataError(f"{path}: {', '.join(unlicensed)} used without a [[source]] that states its licence")
    try:
        tower = read_tower_name(recipe.image.tower)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if tower.published and not recipe.tower_licence:
        raise DataError(
            f"{path}: {recipe.image.tower} has published weights: state their licence as tower_licence"
        )
    return recipe


def recipe_licences(recipe: Recipe) -> dict[str, str]:
    """The licence of every data file that a recipe may use, by file."""
    joined = {f"{source.file}.jsonl.gz": source.licence for source in SOURCES} if recipe.members else {}
    return joined | {source.file: source.licence for source in recipe.source}


def _is_dev_set(name: str) -> bool:
    """Whether a dev set may have this name: that of a source, or NAME.LANG where the source is split by language."""
    source, _, language = name.rpartition(".")
    return any(source == held.name and language if held.by else name == held.name for held in HELD_OUT)
