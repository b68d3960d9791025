"""What the last run over each root left out, kept beside an index in a folder under the name "skipped".

A file that a person may miss is named with its reason. What names and patterns pass over, which can be millions, is
counted by rule.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from unbraid.errors import StoreError
from unbraid.index.files.walk import Skipped, printable
from unbraid.index.roots import Nearest, Plan, Root, owners
from unbraid.index.store.store import Store

NOTE = "skipped"
NAMED = 10_000  # files and folders of a root; the rest is counted by reason
BY_RULE = frozenset(("hidden", "ignored", "excluded", "not included", "passed over"))


class LeftOutFile(msgspec.Struct, frozen=True):
    """A file or folder of a root, by its absolute path, and why it was left out."""

    path: str
    reason: str


class LeftOut(msgspec.Struct, frozen=True):
    """What was left out of one root."""

    root: str
    files: list[LeftOutFile]
    # How many files and folders without a name here, by reason and rule: "ignored by .gitignore: *.pyc".
    counts: dict[str, int]


def read_skipped(store: Store, roots: Iterable[Root]) -> list[LeftOut]:
    """What was left out of those of `roots` that were walked since this is kept. Raises StoreError."""
    content = store.read_note(NOTE)
    if content is None:
        return []
    try:
        known = {one.root: one for one in msgspec.json.decode(content, type=list[LeftOut])}
    except msgspec.DecodeError as error:
        raise StoreError(
            f"what was left out of {store.place} cannot be read ({error}): the next unbraid index writes it anew; "
            f"until then delete {NOTE}.json in its folder"
        ) from error
    return [known[root.path] for root in roots if root.path in known]


def write_skipped(store: Store, plan: Plan, skipped: Sequence[Skipped]) -> None:
    """Note what a run left out; of a root that it looked at in part only, what is elsewhere in it stays."""
    try:
        before = {one.root: one for one in read_skipped(store, plan.roots)}
    except StoreError:  # it is written anew
        before = {}
    owner = owners(plan.roots)
    by_root: dict[str, list[Skipped]] = {}
    for one in skipped:
        if (root := owner.of(one.path.as_posix())) is not None:
            by_root.setdefault(root.path, []).append(one)
    scopes = Nearest({scope.as_posix(): True for scope in plan.scopes})
    found = []
    for root in plan.roots:
        new, old = by_root.get(root.path, []), before.get(root.path)
        whole = scopes.of(root.path) is not None
        if whole or old is None:
            found.append(_left_out(root.path, [], {}, new))
        else:
            kept = [one for one in old.files if not scopes.of(one.path)]
            found.append(_left_out(root.path, kept, old.counts, [one for one in new if not _by_rule(one)]))
    store.write_note(NOTE, msgspec.json.encode(found))


def _left_out(
    root: str, files: Sequence[LeftOutFile], counts: dict[str, int], new: Iterable[Skipped]
) -> LeftOut:
    named, counted = list(files), Counter(counts)
    for one in new:
        if _by_rule(one) or len(named) >= NAMED:
            counted[f"{one.reason} by {one.rule}" if one.rule else one.reason] += 1
        else:
            named.append(LeftOutFile(printable(one.path), one.reason))
    return LeftOut(root, named, dict(counted.most_common()))


def _by_rule(skipped: Skipped) -> bool:
    return skipped.reason in BY_RULE
