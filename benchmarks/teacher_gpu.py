"""How fast the teacher encodes, and how much of the card's matrix rate that is.

    python benchmarks/teacher_gpu.py [--json FILE] [--rounds 5]

On a GPU: the architecture of jina-embeddings-v4 at full size (36 layers, 2048 wide, vision tower) with random bf16
weights and three random adapters of rank 32; speed does not depend on what the weights are. Texts of 128, 512 and
2,048 tokens and pictures of 602,112 pixels. Without a GPU it runs a scaled-down shape in fp32 and says so; those
numbers say nothing about a GPU, only that the script runs and how mixed tasks compare here.

Four ways take turns in every round: three tasks mixed in each batch and one task alone, both through the stacked
adapters that `load` gives; three tasks mixed by peft itself; and the plain way (batches of 8 in the order given, one
pass for each task with an adapter switch between, through the stock class and peft).
The matrix rate is measured in the same run: the best of several 8192^3 bf16 products (CPU: 1024^3 fp32).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import unbraid.teacher  # noqa: F401  (makes torchvision importable before transformers and peft are)

# isort: split
from peft import PeftModel
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

from unbraid.items import Item
from unbraid.runtime.batching import token_budget_batches
from unbraid.teacher.adapter_file import lora_tensors
from unbraid.teacher.encoder import AdapterTeacher
from unbraid.teacher.inputs import Input, Picture, collate
from unbraid.teacher.model import PROJECTED, Backbone, lora_config
from unbraid.teacher.pooling import mean_vector
from unbraid.teacher.routes import JINA_V4, Route
from unbraid.teacher.stacked import stack_adapters

TASKS = ("query", "symmetric", "code")  # one for each adapter
ADAPTERS = ("retrieval", "text-matching", "code")
VOCABULARY = 151936
IMAGE_PAD = 151655


@dataclass(frozen=True)
class Shape:
    """The size of what is measured."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vision_depth: int
    vision_hidden: int
    vision_intermediate: int
    grid: tuple[int, int]  # patches of a picture in height and width
    rank: int
    lengths: tuple[int, ...]
    items: int  # tokens of texts in one round


FULL = Shape(2048, 36, 16, 2, 11008, 32, 1280, 3420, (54, 56), 32, (128, 512, 2048), 196_608)
SMALL = Shape(256, 4, 4, 2, 1376, 4, 160, 428, (14, 14), 8, (128, 512), 12_288)


class RandomReader:
    """Inputs of random tokens and pixels, so that tokenizing and decoding are not what is measured."""

    def __init__(self, shape: Shape) -> None:
        """Texts are as long as their own text says."""
        height, width = shape.grid
        self.patches = torch.randn(height * width, 3 * 2 * 14 * 14)
        self.grid = (1, height, width)

    def read_texts(
        self, texts: Sequence[str], routes: Sequence[Route], rows: Sequence[int] | None = None
    ) -> list[Input]:
        """Each text is the number of its tokens."""
        return [Input(torch.randint(1000, 100_000, (int(text),)).tolist(), (0, int(text))) for text in texts]

    def read_picture(self, item: Item) -> Input:
        """The same random pixels for every picture."""
        pads = [IMAGE_PAD] * (self.grid[1] * self.grid[2] // 4)
        ids = [151644, 872, 198, 151652, *pads, 151653, 74785, 279, 2168, 13, 151645, 198]
        return Input(ids, (3, 5 + len(pads)), Picture(self.patches, self.grid))


def build(shape: Shape, device: str, dtype: torch.dtype) -> PeftModel:
    """A random backbone with three random adapters."""
    half = shape.hidden // shape.heads // 2
    sections = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    rope = {"rope_type": "default", "type": "mrope", "mrope_section": sections, "rope_theta": 1e6}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "intermediate_size": shape.intermediate,
            "vocab_size": VOCABULARY,
            "rope_parameters": rope,
            "bos_token_id": 151643,
            "eos_token_id": 151645,
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_intermediate,
            "num_heads": 16 if shape.vision_hidden % 16 == 0 and shape.vision_hidden > 1000 else 4,
            "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": [i for i in range(shape.vision_depth) if i % 8 == 7]
            or [shape.vision_depth - 1],
            "window_size": 112,
        },
        image_token_id=IMAGE_PAD,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
    )
    config._attn_implementation = "sdpa"
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            backbone = Backbone(Qwen2_5_VLModel(config), nn.Linear(shape.hidden, PROJECTED))
    finally:
        torch.set_default_dtype(before)
    lora = lora_config(backbone.model, rank=shape.rank, alpha=shape.rank)
    model = PeftModel(backbone, lora, adapter_name=ADAPTERS[0], autocast_adapter_dtype=False)
    for name in ADAPTERS[1:]:
        model.add_adapter(name, lora, autocast_adapter_dtype=False)
    model.requires_grad_(False)
    for name in ADAPTERS:
        for (_, side), tensor in lora_tensors(model, name).items():
            if side == "B":
                nn.init.normal_(tensor, std=0.01)
    return model.to(device, dtype).eval()


@torch.inference_mode()
def peft_mixed(model: PeftModel, inputs: Sequence[Input], device: str, batch_tokens: int) -> None:
    """The same batches as the teacher's, their rows mixed by peft."""
    for rows in token_budget_batches([len(one.ids) for one in inputs], budget=batch_tokens):
        batch = collate([inputs[row] for row in rows], device)
        names = [ADAPTERS[row % len(ADAPTERS)] for row in rows]
        mean_vector(model(batch, False, adapter_names=names).hidden, batch.pooled).cpu()


def flops_per_token(shape: Shape, length: int) -> float:
    """Multiply-adds, twice, of one text token: language layers, one adapter, causal attention; no embedding or head."""
    h, wide, kv = shape.hidden, shape.intermediate, shape.hidden // shape.heads * shape.kv_heads
    linear = 2 * h * h + 2 * h * kv + 3 * h * wide
    lora = shape.rank * (2 * (h + h) + 2 * (h + kv) + 3 * (h + wide))
    attention = h * length  # scores and values, 2 h length, of which causality leaves half
    return 2.0 * shape.layers * (linear + lora + attention)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square product: the best of ten."""
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = min(seconds(lambda: a @ b, device) for _ in range(10))
    return 2.0 * size**3 / best


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall time of `work`, with the card's queue empty before and after."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.inference_mode()
def plain_way(model: PeftModel, inputs: Sequence[Input], device: str) -> None:
    """Batches of 8 in the order given, all items of one task after the other's."""
    for number, adapter in enumerate(ADAPTERS):
        model.set_adapter(adapter, inference_mode=True)
        mine = inputs[number :: len(ADAPTERS)]
        for start in range(0, len(mine), 8):
            batch = collate(mine[start : start + 8], device)
            mean_vector(model(batch, False).hidden, batch.pooled).cpu()


def measure(
    teacher: AdapterTeacher, adapted: PeftModel, items: Sequence[Item], tokens: int, rounds: int, device: str
) -> dict[str, float]:
    """Median tokens a second of each way, and the medians of the ratios taken round by round."""
    mixed = [TASKS[number % len(TASKS)] for number in range(len(items))]
    reader = teacher.reader
    if isinstance(items[0], str):
        inputs = reader.read_texts([str(item) for item in items], [JINA_V4["query"]] * len(items))
    else:
        inputs = [reader.read_picture(item) for item in items]
    ways: dict[str, Callable[[], object]] = {
        "mixed": lambda: teacher.encode(items, mixed),
        "single": lambda: teacher.encode(items, "query"),
        "peft mixed": lambda: peft_mixed(adapted, inputs, device, teacher.batch_tokens),
        "plain": lambda: plain_way(adapted, inputs, device),
    }
    for work in ways.values():
        work()  # kernels are chosen and memory is taken in the first call
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            times[name].append(seconds(work, device))
    found = {f"{name} tokens/s": tokens / statistics.median(spent) for name, spent in times.items()}
    for name in ("single", "peft mixed", "plain"):
        ratios = [other / ours for other, ours in zip(times[name], times["mixed"], strict=True)]
        found[f"mixed against {name}"] = statistics.median(ratios)
        found[f"mixed against {name}, worst round"] = min(ratios)
    found["items/s mixed"] = len(items) / statistics.median(times["mixed"])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape, dtype = (FULL, torch.bfloat16) if device == "cuda" else (SMALL, torch.float32)
    card = (
        torch.cuda.get_device_name() if device == "cuda" else "no GPU: scaled-down shape in fp32 on the CPU"
    )
    print(f"{card}; torch {torch.__version__}; {asdict(shape)}")
    torch.manual_seed(0)
    adapted = build(shape, device, dtype)
    backbone, gate = stack_adapters(build(shape, device, dtype))
    teacher = AdapterTeacher(
        backbone,
        gate,
        RandomReader(shape),
        id="random",
        about={"dtype": str(dtype)},
        routes=JINA_V4,
        dims=(shape.hidden,),
        batch_tokens=16384 if device == "cuda" else 2048,
        modalities=("text", "code", "image"),
    )
    rows = []
    for length in shape.lengths:
        count = shape.items // length
        found = measure(teacher, adapted, [str(length)] * count, count * length, arguments.rounds, device)
        rate = matrix_rate(device, dtype)
        share = found["mixed tokens/s"] * flops_per_token(shape, length) / rate
        rows.append(
            {"what": f"text, {length} tokens", **found, "matrix TFLOP/s": rate / 1e12, "share of it": share}
        )
    height, width = shape.grid
    count = 48 if device == "cuda" else 6
    pictures = [Path("random.png")] * count
    tokens = (height * width // 4 + 12) * count
    rows.append(
        {
            "what": f"pictures, {height * width * 196:,} pixels",
            **measure(teacher, adapted, pictures, tokens, arguments.rounds, device),
        }
    )
    for row in rows:
        print(row["what"])
        for name, value in row.items():
            if name != "what":
                print(f"    {name:32s}{value:12,.3f}")
    if device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    if arguments.json:
        arguments.json.write_text(json.dumps({"card": card, "rows": rows}, indent=1))


main()
