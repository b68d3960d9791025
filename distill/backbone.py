"""Where the students' pre-trained encoder is."""

from pathlib import Path

from unbraid.distill.data.items import in_data
from unbraid.teacher.checkpoint import fetch
from unbraid.teacher.minilm import minilm_folder


def backbone_folder(name: str, data: Path) -> Path:
    """The folder of the encoder `name`: "minilm", a folder, here or below `data`, or a hub id.

    Raises DataError or TeacherError when it cannot be had.
    """
    return minilm_folder() if name == "minilm" else fetch(in_data(name, data), None)[0]
