"""Move a bundle's image tower into the space of a run: its last projection is fitted again in closed form.

    python -m unbraid.distill.refit_tower RECIPE BUNDLE --data DATA --run RUN

The tower sees what it saw before; only where its pictures lie changes. It takes minutes where training takes hours. The
captions are encoded by the run's own text tiers. Writes RUN/image, as `unbraid train distill` does.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from msgspec import structs
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from unbraid.base_encoders.image_encoder import ImageEncoder
from unbraid.bundle import read_bundle
from unbraid.distill.data.captioned_pictures import Picture, recipe_pictures
from unbraid.distill.data.captions import Captions, caption_vectors, distinct_captions
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.recipe import Recipe, read_recipe
from unbraid.distill.recipe_models import torch_dtype
from unbraid.distill.train_image import BATCH, dev_recall, new_image_encoder
from unbraid.distill.train_tower import SAMPLE, start_from_graph
from unbraid.distill.trained_students import load_students
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.ridge import ridge
from unbraid.training.record import write_record

PENALTIES = (
    0.01,
    0.1,
    1.0,
)  # of the ridge, times the pictures and the variance of a feature; dev pictures choose


def refit_tower(recipe: Recipe, bundle: Path, data: Path, run: Path) -> dict[str, float]:
    """Write run/image with the tower of `bundle`; returns Recall@10 of captions among the dev pictures.

    Raises DataError when the bundle has no tower, or one of another kind than the recipe's.
    """
    origin = read_bundle(bundle)
    image = origin.image
    if image is None:
        raise DataError(f"{bundle}: has no image tower")
    sized = structs.replace(recipe, image=structs.replace(recipe.image, size=image.preprocess.size))
    pictures = recipe_pictures(sized.image, data)
    encoder = new_image_encoder(sized)
    encoder.preprocess = replace(encoder.preprocess, mean=image.preprocess.mean, std=image.preprocess.std)
    some = [_pixels(encoder, one) for one in pictures[:: len(pictures) // SAMPLE + 1]]
    start_from_graph(encoder, bundle / image.graphs["fp32"], torch.from_numpy(np.stack(some)))
    texts = distinct_captions(pictures)
    tiers = load_students(recipe, run, dtype=torch_dtype(recipe))
    base = tiers.get("base", next(iter(tiers.values())))(texts, "text").numpy()
    stored = {text_key("text", text): vector for text, vector in zip(texts, base, strict=True)}
    captions = caption_vectors(pictures, stored)
    results = fit_projection(encoder, pictures, captions)
    encoder.save(run / "image")
    about = {"captions by": "the run's own tiers", "tower of": origin.id}
    write_record(run / "image", recipe, {}, results | about)
    return results


@torch.inference_mode()
def fit_projection(encoder: ImageEncoder, pictures: list[Picture], captions: Captions) -> dict[str, float]:
    """Fit projection and mean in place to the training pictures' targets; returns Recall@10 of the dev pictures."""
    encoder.eval()
    features = []
    for first in track(range(0, len(pictures), BATCH), "read pictures", unit="batches"):
        pixels = np.stack([_pixels(encoder, one) for one in pictures[first : first + BATCH]])
        features.append(encoder.tower(torch.from_numpy(pixels)))
    seen = torch.cat(features)[torch.tensor([not one.dev for one in pictures])]
    target = captions.targets[torch.tensor([not one.dev for one in pictures])]
    fitted = []
    for penalty in PENALTIES:
        _fit_once(encoder, seen, target, penalty)
        recalls = dev_recall(encoder, pictures, captions)
        fitted.append((float(np.mean(list(recalls.values()))), penalty, recalls))
    _, best, recalls = max(fitted, key=lambda one: one[0])
    _fit_once(encoder, seen, target, best)
    return recalls


def _fit_once(encoder: ImageEncoder, seen: Tensor, target: Tensor, penalty: float) -> None:
    """Set projection and mean from the training pictures' features [n, width] and targets [n, D]."""
    mean, middle = seen.mean(0), target.mean(0)
    penalty *= float(seen.var()) * len(seen)
    weight = ridge((seen - mean).numpy(), (target - middle).numpy(), penalty)
    encoder.projection.weight.copy_(torch.from_numpy(weight))
    encoder.projection.bias.copy_(middle - torch.from_numpy(weight).float() @ mean)
    # As training ends: pictures get the mean vector of their captions.
    encoder.mean.copy_(normalize(encoder.projection(seen), dim=-1).mean(0) - middle)


def _pixels(encoder: ImageEncoder, picture: Picture) -> np.ndarray:
    pixels: np.ndarray = encoder.preprocess(Image.fromarray(picture.pixels))
    return pixels


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    given = parser.parse_args()
    for kind, recall in refit_tower(read_recipe(given.recipe), given.bundle, given.data, given.run).items():
        sys.stdout.write(f"{kind}: {recall:.3f}\n")


if __name__ == "__main__":
    main()
