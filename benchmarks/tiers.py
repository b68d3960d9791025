"""Every tier of a bundle on whole sources that nothing was trained on, beside its teacher and what people use instead.

    python benchmarks/tiers.py BUNDLE --data DATA [--queries 150] [--documents 400]
        [--teacher FOLDER --dev-labels LABELS...] [--sets NAME...]

The sets are those of `unbraid.distill.data.item_sources.HELD_OUT`. Scores are nDCG@10, or Spearman for similarity. Texts
are encoded once for each tier; everything else is arithmetic on their base vectors. all-MiniLM-L6-v2 runs in int8, as
the tiers do. With labels of the dev items, the teacher and its members are scored too. Tables:

1. each system on each set, the set's own search mode, and the means of each kind;
2. queries of one system on documents of another, as shares of the second on its own;
3. each tier's modes on each kind of set;
4. shorter and coarser vectors of each tier, as shares of all 512 float32 numbers.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from minilm_int8 import minilm_runtime

import unbraid
from unbraid.distill.data.dev_sets import DevSet, dev_sets, score
from unbraid.distill.data.item_sources import ENGLISH
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.space.fit_members import StoredMembers, open_members
from unbraid.distill.space.task_space import task_target
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.text import TextRuntime
from unbraid.tasks import SEARCH_MODES
from unbraid.teacher.members.member_space import MemberSpace, load_member_space
from unbraid.teacher.members.member_spec import stored_route_of
from unbraid.teacher.members.members_teacher import SPACE
from unbraid.vectors import normalize

Sides = tuple[np.ndarray, np.ndarray]  # vectors of queries and of documents


def encode_tier(model: unbraid.Embedder, items: Sequence[TrainingItem]) -> np.ndarray:
    """Base vectors float32 [n, 512]."""
    given = [unbraid.Code(item.text) if item.modality == "code" else item.text for item in items]
    return model.encode(given, on_truncate="ignore", progress=False)


def encode_minilm(runtime: TextRuntime, items: Sequence[TrainingItem]) -> np.ndarray:
    """Vectors of all-MiniLM-L6-v2, float32 [n, 384]."""
    texts = [split_identifiers(item.text) if item.modality == "code" else item.text for item in items]
    return runtime.encode(runtime.tokenize(texts)[0], threads=1, progress=False)


def stored(members: StoredMembers, space: MemberSpace, one: DevSet) -> dict[str, Sides]:
    """Task vectors of the joined teacher, and those of each member that reads both sides, from their labels."""
    if not all(members.covers(item) for item in (*one.queries, *one.documents)):
        return {}
    found: dict[str, list[np.ndarray]] = {}
    for items, task in zip((one.queries, one.documents), one.tasks, strict=True):
        joined = np.empty((len(items), space.dim), np.float32)
        for modality in {item.modality for item in items}:
            rows = [row for row, item in enumerate(items) if item.modality == modality]
            vectors, present, chosen = members.block(
                [items[row] for row in rows], members.routes.tasks[task], modality
            )
            joined[rows] = space.join(vectors, chosen, present)
        found.setdefault("teacher", []).append(task_target(joined))
        for spec in members.specs:
            if spec.english and any(item.language != ENGLISH for item in (*one.queries, *one.documents)):
                continue
            kinds = {item.modality for item in items}
            own = np.empty((len(items), spec.dim), np.float32)
            for modality in kinds:
                rows = [row for row, item in enumerate(items) if item.modality == modality]
                route = stored_route_of(spec.routes, task, modality)
                own[rows] = members.stores[spec.name].vectors(
                    [(modality, items[row].text) for row in rows], route
                )
            found.setdefault(spec.name, []).append(normalize(own))
    return {name: (sides[0], sides[1]) for name, sides in found.items()}


def group(one: DevSet) -> str:
    """What a set is averaged with."""
    english = [all(item.language == ENGLISH for item in side) for side in (one.queries, one.documents)]
    return one.kind + ("" if all(english) else ", to English" if english[1] else ", other languages")


def table(head: str, rows: Mapping[str, Mapping[str, float]], columns: Sequence[str]) -> str:
    """A Markdown table; cells without a value are empty."""
    lines = [f"| {head} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, row in rows.items():
        cells = [f"{row[column]:.3f}" if column in row else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def means(rows: Mapping[str, Mapping[str, float]], groups: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """For each group the mean of every column that all of its rows have."""
    found = {}
    for name in dict.fromkeys(groups.values()):
        own = [rows[one] for one, of in groups.items() if of == name]
        shared = [column for column in own[0] if all(column in row for row in own)]
        found[f"**{name}, mean of {len(own)}**"] = {
            column: float(np.mean([row[column] for row in own])) for column in shared
        }
    return found


def main() -> None:
    """Encode, score, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--dev-labels", type=Path, nargs="*", default=[])
    parser.add_argument("--sets", nargs="*", default=[], help="names, or their beginnings")
    arguments = parser.parse_args()
    tiers = {
        name: unbraid.load(arguments.bundle, tier=name)
        for name in unbraid.load(arguments.bundle).bundle.tiers
    }
    mapped = next(iter(tiers.values()))
    sets = [
        one
        for one in dev_sets(arguments.data, queries=arguments.queries, documents=arguments.documents)
        if not arguments.sets or one.name.startswith(tuple(arguments.sets))
    ]
    members = open_members(arguments.dev_labels) if arguments.dev_labels else None
    space = load_member_space(arguments.teacher / SPACE) if arguments.teacher else None
    own: dict[str, dict[str, float]] = {}
    crossed: dict[str, dict[str, float]] = {}
    modes: dict[str, dict[str, float]] = {}
    coarse: dict[str, dict[str, float]] = {}
    groups = {one.name: group(one) for one in sets}
    with tempfile.TemporaryDirectory() as folder:
        minilm = minilm_runtime(Path(folder))
        for one in sets:
            print(
                f"<!-- {one.name}: {len(one.queries)} queries, {len(one.documents)} documents -->", flush=True
            )
            base = {
                name: (encode_tier(model, one.queries), encode_tier(model, one.documents))
                for name, model in tiers.items()
            }
            sides = {
                name: tuple(mapped.map(side, task) for side, task in zip(pair, one.tasks, strict=True))
                for name, pair in base.items()
            }
            others = stored(members, space, one) if members and space else {}
            sides |= {"minilm": (encode_minilm(minilm, one.queries), encode_minilm(minilm, one.documents))}
            own[one.name] = {name: score(one, *pair) for name, pair in (sides | others).items()}
            own[one.name] |= {f"{name}, no mapper": score(one, *pair) for name, pair in base.items()}
            if one.kind != "sts":
                known = {name: pair for name, pair in (sides | others).items() if name in (*tiers, "teacher")}
                crossed[one.name] = {
                    f"{left} on {right}": score(one, known[left][0], known[right][1]) / own[one.name][right]
                    for left in tiers
                    for right in known
                    if left != right
                }
            modes[one.name] = {
                f"{name}, {mode}": score(
                    one, *(mapped.map(side, task) for side, task in zip(base[name], tasks, strict=True))
                )
                for name in tiers
                for mode, tasks in SEARCH_MODES.items()
            }
            coarse[one.name] = {}
            for name in tiers:
                for dim, numbers in ((256, "float32"), (128, "float32"), (512, "int8")):
                    short = [
                        mapped.map(side, task, dim=dim)
                        for side, task in zip(base[name], one.tasks, strict=True)
                    ]
                    if numbers == "int8":  # as a search does: the query stays exact
                        short[1] = np.round(short[1] * 127) / 127
                    coarse[one.name][f"{name}, {dim} {numbers}"] = score(one, *short) / own[one.name][name]
    for head, rows in (("set", own), ("share", crossed), ("modes", modes), ("share kept", coarse)):
        of = {name: groups[name] for name in rows}
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        print(f"\n{table(head, {**rows, **means(rows, of)}, columns)}", flush=True)


main()
