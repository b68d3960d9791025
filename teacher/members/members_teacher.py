"""A teacher of several members: their vectors of an item, joined into one of 512 dimensions for each task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from unbraid.errors import DataError, ItemError
from unbraid.items import Code, Item, check_items, item_modality
from unbraid.runtime.text_language import is_english
from unbraid.tasks import SEARCH_MODES, TASKS
from unbraid.teacher.encoder import AdapterTeacher, text_of
from unbraid.teacher.members.load_member import load_member
from unbraid.teacher.members.member_space import MemberSpace, check_members, load_member_space
from unbraid.teacher.members.member_spec import MEMBERS, MemberSpec, stored_route_of, stored_routes
from unbraid.teacher.pooling import check_dim
from unbraid.vectors import normalize

SPACE = "member_space.safetensors"  # the file of a joined teacher's folder


class Translated(str):
    """A text in another language with its English side, which members that read English alone are given.

    Without one, `english` is "": those members' blocks are predicted.
    """

    english: str

    def __new__(cls, text: str, english: str = "") -> Self:
        """A text with its English side."""
        made = super().__new__(cls, text)
        made.english = english
        return made

    def __repr__(self) -> str:
        """Show both, since a plain string of the same characters is another item."""
        return f"Translated({str.__repr__(self)}, {self.english!r})"


@dataclass(frozen=True)
class JoinedRoutes:
    """`tasks` maps each task to its joint route; `members` [route][modality] names each member's stored route."""

    tasks: Mapping[str, str]
    members: Mapping[str, Mapping[str, Mapping[str, str]]]


def joined_routes(specs: Sequence[MemberSpec]) -> JoinedRoutes:
    """The fewest joint routes: tasks that every member answers by equal prompts share one, named by the first."""
    first: dict[tuple[tuple[str, str], ...], str] = {}
    tasks: dict[str, str] = {}
    for task in TASKS:
        prompts = tuple((spec.routes[task].prompt, spec.routes[task].code_prompt) for spec in specs)
        tasks[task] = first.setdefault(prompts, task)
    members = {
        route: {
            modality: {spec.name: stored_route_of(spec.routes, route, modality) for spec in specs}
            for modality in ("text", "code")
        }
        for route in first.values()
    }
    return JoinedRoutes(tasks, members)


def load_members(
    folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> "MembersTeacher":
    """The joined teacher of a folder that `unbraid train join` wrote.

    By default each member has the dtype of its labels. Raises DataError for a folder without a space and for members
    whose weights or dtype are not those of the labels, TeacherError when a member cannot be loaded.
    """
    space = load_member_space(folder / SPACE)
    members = []
    for one in space.members:
        if one.name not in MEMBERS:
            raise DataError(f"{folder / SPACE}: unknown member {one.name!r}: expected {', '.join(MEMBERS)}")
        own = torch.bfloat16 if one.id.endswith("-bfloat16") else torch.float32
        spec = MEMBERS[one.name]
        members.append((spec, load_member(spec, device=device, dtype=dtype or own)))
    return MembersTeacher(members, space)


class MembersTeacher:
    """A `Teacher` of loaded members and the space that joins them.

    A member that reads English alone gets the English side of a `Translated` item. It gets any other text only if
    `is_english` says that the text is English; where it gets nothing, the space predicts its block.
    """

    modalities: tuple[str, ...] = ("text", "code")
    search_modes: Mapping[str, tuple[str, str]] = SEARCH_MODES

    def __init__(
        self,
        members: Sequence[tuple[MemberSpec, AdapterTeacher]],
        space: MemberSpace,
        *,
        is_english: Callable[[str], bool] = is_english,
    ) -> None:
        """Take the members and the space. Raises DataError for members that are not those of the space."""
        ids = {spec.name: teacher.id for spec, teacher in members}
        check_members(space, ids, {spec.name: teacher.dim for spec, teacher in members})
        self._members = {spec.name: (spec, teacher) for spec, teacher in members}
        self._space, self._is_english = space, is_english
        self._routes = joined_routes([spec for spec, _ in members])
        self.routes: Mapping[str, str] = self._routes.tasks
        self.id = teacher_id(space)
        self.dim = space.dim
        self.dims = tuple(dim for dim in (512, 384, 256, 128) if dim <= space.dim) or (space.dim,)
        self.about: Mapping[str, object] = about_space(space)

    def encode(self, items: Sequence[Item], task: str, *, dim: int | None = None) -> np.ndarray:
        """Task vectors float32 [n, dim] of unit length, in the order given; all 512 dimensions if `dim` is None.

        Raises ItemError for an unknown task or dimension, and naming the row for a picture or an empty text.
        """
        if task not in self.routes:
            raise ItemError(f"unknown task {task!r}: expected one of {', '.join(self.routes)}")
        dim = check_dim(dim, self.dims)
        found = np.empty((len(items), self.dim), np.float32)
        given = [_read(item) for item in check_items(items)]
        kinds = [item_modality(item) for item in given]
        for row, (kind, item) in enumerate(zip(kinds, given, strict=True)):
            if kind not in self.modalities:
                raise ItemError(f"item {row} is {kind}, and {self.id} encodes text and code")
            if isinstance(item, str) and not item.strip():
                raise ItemError(f"item {row} is an empty text")
        for modality in dict.fromkeys(kinds):
            rows = [row for row, kind in enumerate(kinds) if kind == modality]
            found[rows] = self._encode([given[row] for row in rows], task, modality)
        return found if dim == self.dim else normalize(found[:, :dim])

    def _encode(self, items: Sequence[Item], task: str, modality: str) -> np.ndarray:
        """Vectors of items of one modality."""
        english = [self._in_english(item) for item in items]
        vectors, present = {}, {}
        routes = self._routes.members[self.routes[task]][modality]
        for name, (spec, teacher) in self._members.items():
            given = english if spec.english else list(items)
            present[name] = np.array([one is not None for one in given])
            vectors[name] = np.zeros((len(items), spec.dim), np.float32)
            if present[name].any():
                readable = [one for one in given if one is not None]
                asked = stored_routes(spec.routes)[routes[name]]
                vectors[name][present[name]] = teacher.encode(readable, asked)
        return self._space.join(vectors, routes, present)

    def _in_english(self, item: Item) -> Item | None:
        """What a member that reads English alone is given of an item, None for nothing."""
        if isinstance(item, Translated):
            return item.english or None
        if not isinstance(item, str) or isinstance(item, Code):
            return item
        return item if self._is_english(item) else None


def teacher_id(space: MemberSpace) -> str:
    """The id of the teacher of a space, live or as a label store."""
    return f"members-{space.id}"


def about_space(space: MemberSpace) -> dict[str, object]:
    """What decides the vectors of a space, for label stores: each member's id and weight, and the space's id."""
    return {
        "members": {one.name: one.id for one in space.members},
        "weights": {one.name: one.weight for one in space.members},
        "space": space.id,
        "dim": space.dim,
    }


def _read(item: Item) -> Item:
    """The text of a path to a text or code file, so that its language can be told; any other item as it is."""
    if not isinstance(item, Path) or (kind := item_modality(item)) == "image":
        return item
    return text_of(item, kind)
