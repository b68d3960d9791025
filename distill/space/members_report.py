"""Scores of members, alone and joined, on the dev sets: the ceiling of every student, before any is trained."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from unbraid.distill.data.dev_sets import DevSet, score
from unbraid.distill.data.item_sources import ENGLISH
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.space.fit_members import StoredMembers
from unbraid.teacher.members.member_space import MemberSpace
from unbraid.teacher.members.member_spec import MemberSpec, stored_route_of
from unbraid.vectors import normalize

DIMS = (512, 384, 256, 128)
Encode: TypeAlias = Callable[[Sequence[TrainingItem], str], np.ndarray]  # items and a task -> unit vectors


def score_table(
    sets: Sequence[DevSet], members: StoredMembers, space: MemberSpace
) -> list[dict[str, object]]:
    """A row for each set whose items are all labelled: its name and kind, and the score of every system.

    The systems are the members and the joined vectors at each of DIMS. A member that reads English alone has no score
    of a set with another language.
    """
    systems = {spec.name: member_alone(members, spec) for spec in members.specs}
    systems |= {f"joined {dim}": members_joined(members, space, dim) for dim in DIMS}
    english_only = {spec.name for spec in members.specs if spec.english}
    rows: list[dict[str, object]] = []
    for one in sets:
        if not all(members.covers(item) for item in (*one.queries, *one.documents)):
            continue
        foreign = any(item.language != ENGLISH for item in (*one.queries, *one.documents))
        row: dict[str, object] = {"set": one.name, "kind": one.kind, "queries": len(one.queries)}
        row |= {"documents": len(one.documents), "group": group_of(one)}
        for name, encode in systems.items():
            if foreign and name in english_only:
                continue
            query, document = (
                encode(side, task) for side, task in zip((one.queries, one.documents), one.tasks, strict=True)
            )
            row[name] = round(score(one, query, document), 4)
        rows.append(row)
    return rows


def group_means(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """A row for each group of sets: the mean of every system that has a score of all of them."""
    found: list[dict[str, object]] = []
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        scores = [{name: value for name, value in row.items() if isinstance(value, float)} for row in own]
        shared = [name for name in scores[0] if all(name in row for row in scores)]
        mean = {name: round(float(np.mean([row[name] for row in scores])), 4) for name in shared}
        found.append({"mean of": group, "sets": len(own), **mean})
    return found


def group_of(one: DevSet) -> str:
    """What a set is averaged with: its kind, and whether its queries and documents are English."""
    sides = [{item.language for item in side} == {ENGLISH} for side in (one.queries, one.documents)]
    if all(sides):
        return one.kind
    return f"{one.kind}, other language to English" if sides[1] else f"{one.kind}, other languages"


def member_alone(members: StoredMembers, spec: MemberSpec) -> Encode:
    """The member's own vectors, as published."""

    def encode(items: Sequence[TrainingItem], task: str) -> np.ndarray:
        found = np.empty((len(items), spec.dim), np.float32)
        for modality in {item.modality for item in items}:
            rows = [row for row, item in enumerate(items) if item.modality == modality]
            route = stored_route_of(spec.routes, task, modality)
            asked = [(modality, items[row].text) for row in rows]
            found[rows] = members.stores[spec.name].vectors(asked, route)
        return normalize(found)

    return encode


def members_joined(members: StoredMembers, space: MemberSpace, dim: int) -> Encode:
    """The first `dim` dimensions of the joined vectors."""

    def encode(items: Sequence[TrainingItem], task: str) -> np.ndarray:
        found = np.empty((len(items), min(dim, space.dim)), np.float32)
        for modality in {item.modality for item in items}:
            rows = [row for row, item in enumerate(items) if item.modality == modality]
            route = members.routes.tasks[task]
            vectors, present, chosen = members.block([items[row] for row in rows], route, modality)
            found[rows] = space.join(vectors, chosen, present)[:, :dim]
        return normalize(found)

    return encode
