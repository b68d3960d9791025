"""Labels of a joined teacher for a recipe: each member labels the items, then one space joins their vectors.

Everything below the run folder: items.jsonl.gz, members/NAME (a label store each), teacher (the member space), and
labels, an ordinary label store that students train on as on any teacher's. Each step keeps what is there.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from unbraid.distill.data.member_items import joined_items, write_items
from unbraid.distill.data.training_items import TrainingItem, file_items
from unbraid.distill.labels.member_labels import readable_items
from unbraid.distill.labels.write_labels import label
from unbraid.distill.space.fit_members import StoredMembers, fit_member_space, open_members, write_joined
from unbraid.errors import DataError
from unbraid.teacher.members.load_member import load_member
from unbraid.teacher.members.member_space import MemberSpace, load_member_space
from unbraid.teacher.members.member_spec import MEMBERS, stored_routes
from unbraid.teacher.members.members_teacher import SPACE, teacher_id
from unbraid.teacher.memory import choose_device

ITEMS = "items.jsonl.gz"


def label_by_members(
    weights: Mapping[str, float], data: Path, run: Path, *, items: int, device: str | None, dtype: torch.dtype
) -> Iterator[str]:
    """Label the first `items` (0 = all) of the joined teacher's sources below `data`; yields a line for each step.

    `weights` are those of the members, by name. Raises KeyboardInterrupt when labelling was interrupted, DataError and
    TeacherError as the steps do.
    """
    found = run_items(data, run, items)
    yield f"items: {len(found):,}, {run / ITEMS}"
    for name in weights:
        spec = MEMBERS[name]
        member = load_member(spec, device=choose_device(device), dtype=dtype)
        tasks = list(stored_routes(spec.routes).values())
        done = label(readable_items(spec, found), run / "members" / name, member, tasks=tasks)
        if done.interrupted:
            raise KeyboardInterrupt
        yield f"labels of {name}: {done.before + done.now:,} items, {run / 'members' / name}"
    members = open_members([run / "members" / name for name in weights])
    space = kept_space(run / "teacher" / SPACE, members, found, weights)
    write_joined(members, found, space, run / "labels")
    yield f"labels: {len(found):,} items by {teacher_id(space)}, {run / 'labels'}"


def run_items(data: Path, run: Path, items: int) -> list[TrainingItem]:
    """The first `items` (0 = all) of the run's items, which are collected from `data` once."""
    if not (run / ITEMS).exists():
        write_items(run / ITEMS, joined_items(data))
    return file_items(run / ITEMS, most=items or None)


def kept_space(
    path: Path, members: StoredMembers, items: Sequence[TrainingItem], weights: Mapping[str, float]
) -> MemberSpace:
    """The member space in the file `path`; fitted to `items` and written there if there is none.

    An existing one is kept, because students may have been trained for it. Raises DataError for one with other weights.
    """
    if path.exists():
        space = load_member_space(path)
        if (made := {one.name: one.weight for one in space.members}) != dict(weights):
            raise DataError(
                f"{path}: joins members by {made}, expected {dict(weights)}: choose another folder"
            )
        return space
    space = fit_member_space(members, items, weights=weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    space.save(path)
    return space
