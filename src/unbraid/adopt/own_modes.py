"""Search modes of the user's own in an adopted bundle, fitted on pairs or on a folder without labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbraid.bundle import read_bundle
from unbraid.custom_mapper.cross_validation import check_groups
from unbraid.custom_mapper.fit_mapper import fit_mapper, read_source
from unbraid.custom_mapper.mapper_file import CustomMapper
from unbraid.custom_mapper.mapper_pairs import Pairs
from unbraid.embedder import Embedder


@dataclass(frozen=True)
class OwnModes:
    """The modes that are surely better than the model alone, and a sentence for each that was fitted."""

    mappers: Sequence[CustomMapper]
    notes: Sequence[str]


def read_sources(places: Mapping[str, Path | None], modalities: Sequence[str]) -> dict[str, Pairs]:
    """The pairs of each place that is given, by the name of its mode. Raises DataError for pairs that cannot be fitted on."""
    found = {name: read_source(place, modalities) for name, place in places.items() if place is not None}
    for pairs in found.values():
        check_groups(pairs.groups(), by_file=pairs.files is not None)
    return found


def fit_own_modes(bundle: Path, sources: Mapping[str, Pairs]) -> OwnModes:
    """A mode for each of `sources`, on the finished bundle in a folder; those that gain nothing sure are left out."""
    if not sources:
        return OwnModes([], [])
    model = Embedder(read_bundle(bundle))
    fitted = [fit_mapper(model, pairs, name, progress=False) for name, pairs in sources.items()]
    return OwnModes([one for one in fitted if one.about["strength"]], [_note(one) for one in fitted])


def _note(mapper: CustomMapper) -> str:
    about = mapper.about
    if not about["strength"]:
        return (
            f"no mode {mapper.name}: fitting on {about['pairs']:,} pairs gained nothing sure on held-out ones over "
            f"{about['start']} ({about['metric']} {about['before']:.3f})"
        )
    return (
        f"mode {mapper.name}, fitted on {about['pairs']:,} pairs: {about['metric']} {about['before']:.3f} -> "
        f"{about['after']:.3f} on held-out ones (standard error of the gain {about['standard_error']:.3f})"
    )
