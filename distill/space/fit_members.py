"""Fit the space that joins members, from their label stores; write the joined labels.

Means, weights and projection are applied here, so a change of weights needs no new labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import Labels, text_key
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.labels.member_labels import StoredMember
from unbraid.distill.space.task_space import DIM
from unbraid.errors import DataError
from unbraid.ridge import solve_ridge
from unbraid.teacher.members.member_space import MemberScale, MemberSpace, centered
from unbraid.teacher.members.member_spec import MEMBERS, MemberSpec, stored_routes
from unbraid.teacher.members.members_teacher import JoinedRoutes, about_space, joined_routes, teacher_id

BLOCK = 8192  # items held as float32 at once: 50 MB of 1,536 dimensions
# Ridge penalty of the map that predicts an absent block. The rows are unit vectors, so n of them give each of 384
# directions n / 384 on average, and only a direction that is nearly empty is held back.
STRENGTH = 1.0

# By member: vectors float16 [n, dim], `present` bool [n] (whether it has one of its own), and the stored route.
Block: TypeAlias = tuple[dict[str, np.ndarray], dict[str, np.ndarray], Mapping[str, str]]


@dataclass(frozen=True)
class StoredMembers:
    """Members with their label stores, and the joint routes that they answer."""

    specs: tuple[MemberSpec, ...]
    stores: Mapping[str, StoredMember]
    routes: JoinedRoutes

    def covers(self, item: TrainingItem) -> bool:
        """Whether every member that can read the item, or its English side, has labelled it."""
        return all(
            seen is None or self.stores[spec.name].has(*seen)
            for spec in self.specs
            for seen in (_seen(spec, item),)
        )

    def block(self, items: Sequence[TrainingItem], route: str, modality: str) -> Block:
        """The stored vectors of items of one modality under a joint route.

        Raises DataError naming an item that a member should have labelled and has not.
        """
        vectors, present = {}, {}
        chosen = self.routes.members[route][modality]
        for spec in self.specs:
            store = self.stores[spec.name]
            seen = [_seen(spec, item) for item in items]
            known = np.array([one is not None for one in seen], bool)
            vectors[spec.name] = np.zeros((len(items), store.dim), np.float16)
            if known.any():
                asked = [one for one in seen if one is not None]
                vectors[spec.name][known] = store.vectors(asked, chosen[spec.name])
            present[spec.name] = known
        return vectors, present, chosen


def open_members(folders: Sequence[Path]) -> StoredMembers:
    """The members whose label stores are `folders`, in the order of MEMBERS, which decides that of the blocks.

    Raises DataError for two stores of one member, and as `StoredMember` does.
    """
    stores: dict[str, StoredMember] = {}
    for folder in folders:
        store = StoredMember(folder)
        if store.spec.name in stores:
            raise DataError(
                f"{folder}: {stores[store.spec.name].folder} holds labels of {store.spec.name} too"
            )
        stores[store.spec.name] = store
    specs = tuple(stores[name].spec for name in MEMBERS if name in stores)
    return StoredMembers(specs, stores, joined_routes(specs))


def fit_member_space(
    members: StoredMembers, items: Sequence[TrainingItem], *, weights: Mapping[str, float] | None = None
) -> MemberSpace:
    """The space of `items`: a mean for each member's stored route, the map that predicts absent blocks, the joint PCA.

    One PCA serves all joint routes, so that queries stay comparable with documents. It removes no mean: the blocks are
    centred already. `weights` override those of the specs. Raises DataError for fewer than two items, an unknown weight, or as `StoredMembers.block` does.
    """
    if len(items) < 2:
        raise DataError(f"a member space needs at least two items, got {len(items)}")
    names = [spec.name for spec in members.specs]
    chosen = {spec.name: spec.weight for spec in members.specs} | dict(weights or {})
    if unknown := sorted(chosen.keys() - set(names)):
        raise DataError(f"weight of {', '.join(unknown)}: expected one of {', '.join(names)}")
    scales = tuple(
        MemberScale(
            *(spec.name, members.stores[spec.name].id, spec.dim, float(chosen[spec.name]), spec.english),
            means=_means(members, spec, items),
        )
        for spec in members.specs
    )
    wide = sum(scale.dim for scale in scales)
    fill = _fit_fill(members, items, scales)
    raw = MemberSpace(scales, fill, np.eye(wide, dtype=np.float32))
    moment = np.zeros((wide, wide))
    for joined in _joined(members, items, raw):
        moment += joined.T.astype(np.float64) @ joined
    energy, axes = np.linalg.eigh(moment)
    order = np.argsort(energy)[::-1][:DIM]
    return MemberSpace(scales, fill, axes[:, order].T.astype(np.float32))


def kept_energy(members: StoredMembers, items: Sequence[TrainingItem], space: MemberSpace) -> float:
    """Share of the joined vectors' energy that the space's projection keeps, 0 to 1, over all routes of `items`."""
    kept = total = 0.0
    raw = MemberSpace(space.members, space.fill, np.eye(space.projection.shape[1], dtype=np.float32))
    for joined in _joined(members, items, raw):
        total += float((joined**2).sum())
        kept += float(((joined @ space.projection.T) ** 2).sum())
    return kept / total


def joined_labels(
    members: StoredMembers, items: Sequence[TrainingItem], space: MemberSpace, *, block: int = BLOCK
) -> Iterator[Labels]:
    """Labels of `items` in blocks, in order: for each joint route vectors float16 [n, 512].

    Raises DataError for an item that a member should have labelled and has not.
    """
    for start in range(0, len(items), block):
        part = items[start : start + block]
        vectors = {route: np.empty((len(part), space.dim), np.float16) for route in members.routes.members}
        for modality, rows in _by_modality(part).items():
            for route, found in vectors.items():
                some = [part[row] for row in rows]
                given, present, chosen = members.block(some, route, modality)
                found[rows] = space.join(given, chosen, present)
        yield Labels(
            texts=[item.text for item in part],
            modalities=[item.modality for item in part],
            anchors=[item.anchor for item in part],
            vectors=vectors,
            keys=[text_key(item.modality, item.text) for item in part],
        )


def write_joined(
    members: StoredMembers, items: Sequence[TrainingItem], space: MemberSpace, folder: Path
) -> int:
    """Write the joined labels of `items` as an ordinary label store in `folder`; returns how many are new.

    Training reads it as any teacher's. What it holds stays; labels of other members, weights or means are refused by
    DataError.
    """
    routes = tuple(members.routes.members)
    about = Description(teacher_id(space), about_space(space), routes, space.dim, members.routes.tasks)
    with open_labels(folder, about) as store:
        missing = [item for item in items if text_key(item.modality, item.text) not in store.keys]
        store.want({text_key(item.modality, item.text) for item in items})
        for labels in joined_labels(members, missing, space):
            store.append(labels)
    return len(missing)


def _seen(spec: MemberSpec, item: TrainingItem) -> tuple[str, str] | None:
    """Modality and text that a member labelled for an item, None where it cannot read it."""
    if not spec.english:
        return item.modality, item.text
    english = item.in_english()
    return None if english is None else (english.modality, english.text)


def _means(members: StoredMembers, spec: MemberSpec, items: Sequence[TrainingItem]) -> dict[str, np.ndarray]:
    """The mean of the member's vectors of `items` by each stored route, each item once."""
    seen = list(dict.fromkeys(one for item in items if (one := _seen(spec, item)) is not None))
    if not seen:
        raise DataError(f"{spec.name}: none of {len(items)} items is English or has an English side")
    means = {}
    for route in stored_routes(spec.routes):
        total = np.zeros(spec.dim)
        for start in range(0, len(seen), BLOCK):
            found = members.stores[spec.name].vectors(seen[start : start + BLOCK], route)
            total += found.sum(axis=0, dtype=np.float64)
        means[route] = (total / len(seen)).astype(np.float32)
    return means


def _fit_fill(
    members: StoredMembers, items: Sequence[TrainingItem], scales: Sequence[MemberScale]
) -> np.ndarray:
    """float32 [optional dims, other dims]: the best linear guess of the optional members' units from the others'."""
    others = [scale for scale in scales if not scale.optional]
    optional = [scale for scale in scales if scale.optional]
    inner, outer = sum(scale.dim for scale in others), sum(scale.dim for scale in optional)
    gram, cross = np.zeros((inner, inner)), np.zeros((inner, outer))
    if optional and not others:
        raise DataError("every member reads English alone: add labels of one that reads other languages")
    whole = [item for item in items if all(_seen(spec, item) is not None for spec in members.specs)]
    for vectors, _, chosen in _blocks(members, whole):
        units = {
            scale.name: centered(vectors[scale.name], scale.means[chosen[scale.name]]) for scale in scales
        }
        given = np.concatenate([units[scale.name] for scale in others], axis=1).astype(np.float64)
        gram += given.T @ given
        if optional:
            cross += given.T @ np.concatenate([units[scale.name] for scale in optional], axis=1)
    return solve_ridge(gram, cross, STRENGTH).astype(np.float32)


def _blocks(members: StoredMembers, items: Sequence[TrainingItem]) -> Iterator[Block]:
    """What `StoredMembers.block` gives for `items`, block by block over all joint routes."""
    for start in range(0, len(items), BLOCK):
        part = items[start : start + BLOCK]
        for modality, rows in _by_modality(part).items():
            for route in members.routes.members:
                yield members.block([part[row] for row in rows], route, modality)


def _joined(members: StoredMembers, items: Sequence[TrainingItem], raw: MemberSpace) -> Iterator[np.ndarray]:
    """The joined vectors before the projection, block by block over all joint routes: float32 [n, all dims]."""
    for vectors, present, chosen in _blocks(members, items):
        yield raw.joined(vectors, chosen, present)


def _by_modality(items: Sequence[TrainingItem]) -> dict[str, list[int]]:
    """Rows of each modality that occurs."""
    rows: dict[str, list[int]] = {}
    for row, item in enumerate(items):
        rows.setdefault(item.modality, []).append(row)
    return rows
