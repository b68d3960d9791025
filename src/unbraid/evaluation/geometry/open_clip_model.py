"""Text and picture vectors of an open_clip model, to show beside a bundle's or a teacher's."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbraid.errors import DataError, TeacherError, require
from unbraid.items import Item
from unbraid.progress import track
from unbraid.runtime.preprocess import decode
from unbraid.training.torchvision_shim import ensure_torchvision

BATCH = 64
SEED = 0  # of random weights
SCHEMES = ("hf-hub:", "local-dir:")  # open_clip's own: architecture and weights come together


class Clip:
    """An open_clip model by "ARCH" (random weights) or "ARCH:PRETRAINED" (a tag, which is downloaded, or a file)."""

    def __init__(self, name: str, device: str | None = None) -> None:
        """Load it, on a GPU where there is one.

        Raises DataError for an ARCH or PRETRAINED that open_clip does not know, TeacherError for weights that cannot
        be fetched or do not fit.
        """
        ensure_torchvision()
        require("open_clip", "train")
        import open_clip as library
        import torch

        self._torch = torch
        arch, tag = _parts(name)
        _check(library, arch, tag)
        published = tag or arch.startswith(SCHEMES)
        self.weights = tag or ("published" if published else f"random, seed {SEED}")
        self.name = f"open_clip {name}" if published else f"open_clip {arch}, random weights"
        self._device = device or ("cuda" if self._torch.cuda.is_available() else "cpu")
        with self._torch.random.fork_rng(devices=[]):
            self._torch.manual_seed(SEED)
            try:
                model, _, self._preprocess = library.create_model_and_transforms(
                    arch, pretrained=tag, device=self._device
                )
                self._tokenize = library.get_tokenizer(arch)
            except Exception as error:  # classes of the hub client and its HTTP library, RuntimeError
                raise TeacherError(f"open_clip:{name} cannot be loaded: {str(error)[:300]}") from error
        self._model = model.eval()

    def encode(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Unit vectors float32 [n, D] of texts (str) and pictures (paths), by the model's own preprocessing."""
        vectors: dict[int, NDArray[np.float32]] = {}
        for picture in (False, True):
            rows = [row for row, item in enumerate(items) if isinstance(item, Path) == picture]
            batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
            for batch in track(batches, self.name, unit=f"x {BATCH} items"):
                with self._torch.inference_mode():
                    found = self._batch([items[row] for row in batch], picture).float().cpu().numpy()
                vectors.update(zip(batch, found, strict=True))
        return np.stack([vectors[row] for row in range(len(items))])

    def _batch(self, items: Sequence[Any], picture: bool) -> Any:
        """A tensor [n, D]. Any: torch is imported only when a model is loaded."""
        if picture:
            pixels = self._torch.stack([self._preprocess(decode(item)) for item in items])
            return self._model.encode_image(pixels.to(self._device), normalize=True)
        return self._model.encode_text(self._tokenize(list(items)).to(self._device), normalize=True)


def _parts(name: str) -> tuple[str, str | None]:
    """Architecture and weights of "ARCH[:PRETRAINED]"; a name in one of SCHEMES is whole."""
    if name.startswith(SCHEMES):
        return name, None
    arch, _, tag = name.partition(":")
    return arch, tag or None


def _check(library: Any, arch: str, tag: str | None) -> None:
    if arch.startswith(SCHEMES):
        return
    if arch not in (known := library.list_models()):
        near = difflib.get_close_matches(arch, known, cutoff=0) or known[:3]
        raise DataError(
            f"open_clip has no architecture {arch!r}: expected a name such as {', '.join(near)}, hf-hub:org/name or "
            "local-dir:FOLDER"
        )
    tags = library.list_pretrained_tags_by_model(arch)
    if tag is not None and tag not in tags and not Path(tag).is_file():
        expected = ", ".join(tags) or "none: it has no published weights"
        raise DataError(f"open_clip has no weights {tag!r} of {arch}: expected a file or one of {expected}")
