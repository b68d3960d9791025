"""Pictures a second on one core, decoding included: the bundle's image path, and ViT-B/32 through open_clip.

    python benchmarks/pictures_speed.py [BUNDLE] [--pictures DIR] [--rounds 5]

The pictures are JPEG files of 400 pixels, made from drawings, or the files of DIR. The two take turns in one process;
ViT-B/32 has random weights, which cost the same. Prints medians over rounds, and the worst ratio.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import unbraid
from unbraid.distill.drawings import draw
from unbraid.runtime.image import ImageRuntime
from unbraid.training.torchvision_shim import ensure_torchvision

COUNT = 64  # a round; ViT-B/32 gets the first SLOW of them
SLOW = 8
SIDE = 400


def drawn(folder: Path) -> list[Path]:
    """JPEG files of drawings whose longer side is 400 pixels."""
    paths = []
    for seed in range(COUNT):
        image = draw(seed).image
        scale = SIDE / max(image.size)
        path = folder / f"{seed}.jpg"
        image.resize([round(side * scale) for side in image.size]).save(path, quality=85)
        paths.append(path)
    return paths


def clip_encoder() -> Callable[[list[Path]], object]:
    """ViT-B/32 as open_clip runs it, with its own preprocessing, one picture after another in a batch."""
    ensure_torchvision()
    import open_clip
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
    model.eval()

    def encode(paths: list[Path]) -> object:
        with torch.inference_mode():
            return model.encode_image(torch.stack([preprocess(Image.open(path)) for path in paths]))

    return encode


def main() -> None:
    """Measure and print one row a system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = unbraid.load(arguments.bundle).bundle
    assert bundle.image, f"{bundle.folder} encodes no pictures"
    runtime, clip = ImageRuntime(bundle.folder, bundle.image, None), clip_encoder()
    with tempfile.TemporaryDirectory() as scratch:
        paths = sorted(arguments.pictures.iterdir())[:COUNT] if arguments.pictures else drawn(Path(scratch))
        systems: dict[str, tuple[list[Path], Callable[[list[Path]], object]]] = {
            f"{bundle.name} {bundle.version}, {bundle.image.preprocess.size} px": (
                paths,
                lambda some: runtime.encode(some, threads=1, progress=False),
            ),
            "open_clip ViT-B-32, 224 px": (paths[:SLOW], clip),
        }
        rates: dict[str, list[float]] = {name: [] for name in systems}
        for round_number in range(arguments.rounds + 1):
            for name, (some, encode) in systems.items():
                start = time.process_time()
                encode(some)
                if round_number:  # the first round warms up
                    rates[name].append(len(some) / (time.process_time() - start))
    ours, theirs = rates.values()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print("| one core | pictures/s | ratio (worst) |\n| --- | ---: | --- |")
    print(
        f"| {next(iter(systems))} | {statistics.median(ours):,.0f} | {statistics.median(ratios):.1f} ({min(ratios):.1f}) |"
    )
    print(f"| {list(systems)[1]} | {statistics.median(theirs):,.1f} | |")


main()
