"""The cost of a recipe before it starts: items, tokens, teacher passes, disk and hours.

Hours come from timing a few items through the teacher and one step of each student on this machine. A teacher that has
to be fetched is not fetched for the estimate on a machine without a GPU: its hours then come from an assumption, which
the output states.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from unbraid.base_encoders.image_encoder import start_image_encoder
from unbraid.base_encoders.prune_feed_forward import narrow_feed_forward
from unbraid.base_encoders.static_encoder import StaticEncoder
from unbraid.base_encoders.text_encoder import start_text_encoder, token_embeddings
from unbraid.bundle import SMALL
from unbraid.distill.data.member_items import joined_items
from unbraid.distill.data.training_items import TrainingItem, recipe_items
from unbraid.distill.fit_mappers import READ_OUT, ROWS_PER_FILE
from unbraid.distill.labels.member_labels import readable_items
from unbraid.distill.labels.write_labels import as_item
from unbraid.distill.recipe import Recipe, TextTraining
from unbraid.distill.recipe_models import backbone_folder, below_data, torch_dtype
from unbraid.distill.space.task_space import DIM
from unbraid.distill.train_drawings import ANY, OF_A_KIND, REAL
from unbraid.progress import duration
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.teacher import Teacher, load
from unbraid.teacher.members.load_member import load_member
from unbraid.teacher.members.member_spec import MEMBERS, MemberSpec, stored_routes
from unbraid.teacher.memory import choose_device
from unbraid.teacher.routes import JINA_V4
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.data_split import train_rows
from unbraid.training.losses import cosine_loss

CHARACTERS = 4  # of a token, in English and in code
SAMPLE = 24  # items that the teacher is timed with
STEP_TOKENS = 32  # tokens of an item in a timed step
# jina-embeddings-v4: 2 FLOPs a token for each of the language model's 2.8e9 weights outside its embedding, and an
# A100's 312 TFLOP/s in bfloat16, of which 40 % is what dense prefill of such models reaches.
PASS_FLOPS, GPU_FLOPS, GPU_SHARE = 2 * 2.8e9, 312e12, 0.4
ASSUMED = "assumed, because there is no GPU here: an A100 (312 TFLOP/s bf16) at 40 %, 5.6 GFLOP a token"
# Of a picture of 448 pixels: 256 in the language model, and as much work in the vision tower.
PICTURE_TOKENS = 512
V4_DIM = 2048


@dataclass(frozen=True)
class StageCost:
    """One stage: its work, its time, and where that time comes from."""

    stage: str
    work: str
    seconds: float
    known: str


@dataclass(frozen=True)
class Amount:
    """The amount of data of a recipe: items to label by kind, and tokens of the texts and code."""

    texts: int
    code: int
    pictures: int  # to be labelled
    tokens: int  # texts longer than the student reads count whole, as the teacher reads them
    student_tokens: int
    characters: int
    trained_pictures: int  # with drawings

    @property
    def items(self) -> int:
        """Number of items to label."""
        return self.texts + self.code + self.pictures


def estimate_run(plan: Recipe, data: Path, *, device: str | None = None) -> str:
    """The plan and cost of a run as a table; `device` is the teacher's.

    Raises DataError when a file of the recipe is not in `data`, and as loading the teacher does.
    """
    items = joined_items(data)[: plan.items or None] if plan.members else recipe_items(plan, data)
    amount = measure(plan, data, items)
    with silence_transformers():
        if plan.members:
            labels = [_member_labels(MEMBERS[name], amount, items, plan, device) for name in plan.members]
        else:
            labels = [_teacher_labels(amount, items, plan, data, device)]
        stages = [*labels, *_students(plan, data, amount)]
    about = f"{plan.name}: teacher {plan.teacher or ' + '.join(plan.members)}"
    free = shutil.disk_usage(_existing(data)).free / 1e9
    return "\n".join([about, *_lines(stages), f"free on the disk of {data}: {free:,.1f} GB"])


def measure(plan: Recipe, data: Path, items: Sequence[TrainingItem]) -> Amount:
    """The amount of data; `items` are the recipe's texts and code."""
    lengths = np.array([len(item.text) for item in items] or [0])
    tokens = lengths // CHARACTERS + 2
    photos = sum(len(train_rows(data / f"{name}.jsonl.gz")) for name in plan.image.photos)
    code = sum(item.modality == "code" for item in items)
    return Amount(
        texts=len(items) - code,
        code=code,
        pictures=photos if plan.image.own_vector else 0,
        tokens=int(tokens.sum()),
        student_tokens=int(np.minimum(tokens, plan.text[SMALL].max_tokens).sum()),
        characters=int(lengths.sum()),
        trained_pictures=photos + (plan.image.epoch_drawings or plan.image.drawings),
    )


def label_bytes(amount: Amount, routes: int, dim: int) -> int:
    """Size of the labels on disk: float16 vectors, which do not compress, the texts, and 100 bytes a row beside them."""
    return amount.items * (routes * dim * 2 + 100) + amount.characters


def _teacher_labels(
    amount: Amount, items: Sequence[TrainingItem], plan: Recipe, data: Path, device: str | None
) -> StageCost:
    name = below_data(plan.teacher, data)
    here = os.path.isdir(name) or "/" not in name or choose_device(device).type == "cuda"
    teacher = load(name, device=device, dtype=torch_dtype(plan, device)) if here else None
    routes = sorted(set(teacher.routes.values() if teacher else (one.name for one in JINA_V4.values())))
    return _labels("label", amount, items, routes, teacher)


def _member_labels(
    spec: MemberSpec, amount: Amount, items: Sequence[TrainingItem], plan: Recipe, device: str | None
) -> StageCost:
    """One member's passes. One that reads English alone is timed as if all items were English."""
    member = load_member(spec, device=choose_device(device), dtype=torch_dtype(plan, device))
    tasks = list(stored_routes(spec.routes).values())
    return _labels(f"label, {spec.name}", amount, readable_items(spec, items), tasks, member)


def _labels(
    stage: str, amount: Amount, items: Sequence[TrainingItem], routes: Sequence[str], teacher: Teacher | None
) -> StageCost:
    """The teacher's passes, timed with a few of the texts where there is a teacher."""
    dim = teacher.dim if teacher else V4_DIM
    tokens = amount.tokens + amount.pictures * PICTURE_TOKENS
    if teacher is None:
        seconds, known = tokens * len(routes) * PASS_FLOPS / (GPU_FLOPS * GPU_SHARE), ASSUMED
    else:
        sample = items[:SAMPLE]
        given = [as_item(item.modality, item.text, None) for item in sample]
        task = next(iter(teacher.routes))
        teacher.encode(given[:2], task)  # opens threads and allocates
        spent = _seconds(lambda: teacher.encode(given, task))
        each = spent / max(1, sum(len(item.text) // CHARACTERS + 2 for item in sample))
        seconds, known = tokens * len(routes) * each, f"{len(sample)} items timed through the teacher"
    kinds = [(amount.texts, "texts"), (amount.code, "code"), (amount.pictures, "pictures")]
    shown = ", ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    work = f"{shown}; {tokens / 1e6:,.2f} M tokens x {len(routes)} passes of {dim:,} dimensions; "
    work += f"{label_bytes(amount, len(routes), dim) / 1e9:,.2f} GB on disk"
    return StageCost(stage, work, seconds, known)


def _students(plan: Recipe, data: Path, amount: Amount) -> list[StageCost]:
    """Training on the CPU, timed with a step of each student."""
    timed = "one step timed here, on the CPU"
    tokens, stages, forward = amount.student_tokens, [], 0.0
    for tier, config in plan.text.items():
        epochs = sum(config.epochs)
        each, encoding = _text_seconds(plan, config, backbone_folder(config.backbone, data))
        forward += encoding
        work = f"{tokens / 1e6:,.2f} M tokens x {epochs} epochs"
        stages.append(StageCost(tier, work, tokens * epochs * each, timed))
    backbone = backbone_folder(plan.text[SMALL].backbone, data)
    texts = amount.texts + amount.code
    if plan.nano:
        seconds = texts * plan.nano.epochs * _nano_seconds(plan, backbone)
        work = f"{texts:,} items x {plan.nano.epochs} epochs, and a closed form before"
        stages.append(StageCost("nano", work, seconds, timed))
    if amount.trained_pictures:
        seconds = amount.trained_pictures * plan.image.epochs * _image_seconds(plan)
        work = f"{amount.trained_pictures:,} pictures x {plan.image.epochs} epochs"
        if plan.image.second:
            steps, batch = plan.image.second.steps, REAL + ANY + 2 * OF_A_KIND
            seconds *= 1 + steps * batch / (amount.trained_pictures * plan.image.epochs)
            work += f", then {steps:,} steps of {batch}"
        stages.append(StageCost("image", work, seconds, timed))
    pairs = sum(len(mapper.files) * ROWS_PER_FILE for mapper in plan.mapper.values())
    encoded = min(READ_OUT, texts) + 2 * pairs
    seconds = encoded * tokens / max(1, texts) * forward
    stages.append(StageCost("mappers", f"at most {encoded:,} texts to encode", seconds, timed))
    return stages


def _text_seconds(plan: Recipe, config: TextTraining, backbone: Path) -> tuple[float, float]:
    """Seconds a token of training one tier, and of encoding with it."""
    encoder = start_text_encoder(
        backbone, DIM, layers=config.layers, pooled_layers=config.pooled_layers
    ).eval()
    nn.init.normal_(encoder.projection.weight)
    ids, mask = _tokens(max(1, config.batch_tokens // STEP_TOKENS), len(token_embeddings(backbone)))
    if config.feed_forward:
        narrow_feed_forward(encoder.backbone, config.feed_forward, ids, mask)
    dtype = torch_dtype(plan)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        training = _step_seconds(encoder, lambda: encoder(ids, mask)) / ids.numel()
        with torch.inference_mode():
            return training, _seconds(lambda: encoder(ids, mask)) / ids.numel()


def _nano_seconds(plan: Recipe, backbone: Path) -> float:
    """Seconds an item of training the nano tier."""
    assert plan.nano is not None
    rows = len(token_embeddings(backbone))
    encoder = StaticEncoder(torch.randn(rows, plan.nano.width), torch.randn(DIM, plan.nano.width))
    ids, mask = _tokens(plan.nano.batch, rows)
    return _step_seconds(encoder, lambda: encoder(ids, mask)) / plan.nano.batch


def _image_seconds(plan: Recipe) -> float:
    """Seconds a picture of training the image tower, the mean of both sizes."""
    config = plan.image
    preprocess = ImagePreprocess(config.size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    encoder = start_image_encoder(config.tower, dim=DIM, preprocess=preprocess).train()
    sizes = (config.first_size or config.size, config.size)  # half of the epochs each
    seconds = []
    for size in sizes:
        pixels = torch.randn(min(8, config.batch), 3, size, size)
        seconds.append(_step_seconds(encoder, partial(encoder.raw, pixels)) / len(pixels))
    return sum(seconds) / len(seconds)


def _tokens(items: int, rows: int) -> tuple[Tensor, Tensor]:
    """ids and mask int64 [items, 32] of random tokens among `rows`."""
    ids = torch.randint(rows, (items, STEP_TOKENS), generator=torch.Generator().manual_seed(0))
    return ids, torch.ones_like(ids)


def _step_seconds(encoder: nn.Module, forward: Callable[[], Tensor]) -> float:
    """Seconds of a step after the first, which allocates."""
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
    target = normalize(torch.randn(1, DIM), dim=-1)

    def step() -> None:
        optimizer.zero_grad()
        cosine_loss(forward().float(), target).backward()
        optimizer.step()

    step()
    return _seconds(step)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _lines(stages: Sequence[StageCost]) -> list[str]:
    cells = [(one.stage, duration(one.seconds), one.work, one.known) for one in stages]
    cells.append(("in all", duration(sum(one.seconds for one in stages)), "", ""))
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    return [
        f"{stage:<{widths[0]}}  {spent:>{widths[1]}}  {work:<{widths[2]}}  {known}".rstrip()
        for stage, spent, work, known in cells
    ]


def _existing(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return folder if folder.exists() else _existing(folder.absolute().parent)
