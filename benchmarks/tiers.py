"""Every tier of a bundle on whole sources that nothing was trained on, beside its teacher and what people use instead.

    python benchmarks/tiers.py BUNDLE --data DATA [--queries 150] [--documents 400]
        [--teacher FOLDER --dev-labels LABELS...] [--tiers NAME...] [--sets NAME...] [--record FILE]

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
from typing import TypeAlias

import numpy as np
from minilm_int8 import minilm_runtime

import unbraid
from unbraid.distill.data.dev_sets import DevSet, dev_sets, score
from unbraid.distill.data.item_sources import ENGLISH
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.space.fit_members import StoredMembers, open_members
from unbraid.distill.space.members_report import group_means, group_of, member_alone, members_joined
from unbraid.distill.space.task_space import DIM, task_target
from unbraid.evaluation.score_file import add_scores
from unbraid.evaluation.tables import markdown_table
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.routing import Side
from unbraid.runtime.text import TextRuntime
from unbraid.tasks import SEARCH_MODES
from unbraid.teacher.members.member_space import MemberSpace, load_member_space
from unbraid.teacher.members.members_teacher import SPACE

Sides: TypeAlias = tuple[np.ndarray, np.ndarray]  # vectors of queries and of documents
SHORTER = ((256, "float32"), (128, "float32"), (512, "int8"))
ROUTED = "routed"
TEACHER, MINILM = "teacher", "minilm int8"


def encode_tier(model: unbraid.Embedder, items: Sequence[TrainingItem], side: Side) -> np.ndarray:
    """Base vectors float32 [n, 512]."""
    given = [unbraid.Code(item.text) if item.modality == "code" else item.text for item in items]
    return model.encode(given, side=side, on_truncate="ignore", progress=False)


def encode_minilm(runtime: TextRuntime, items: Sequence[TrainingItem]) -> np.ndarray:
    """Vectors of all-MiniLM-L6-v2, float32 [n, 384]."""
    texts = [split_identifiers(item.text) if item.modality == "code" else item.text for item in items]
    return runtime.encode(runtime.tokenize(texts)[0], threads=1, progress=False)


def taught(members: StoredMembers, space: MemberSpace, one: DevSet) -> dict[str, Sides]:
    """Task vectors of the joined teacher, and vectors of each member that reads both sides, where all is labelled."""
    items = (*one.queries, *one.documents)
    if not all(members.covers(item) for item in items):
        return {}
    english = all(item.language == ENGLISH for item in items)
    systems = {
        spec.name: member_alone(members, spec) for spec in members.specs if english or not spec.english
    }
    systems[TEACHER] = members_joined(members, space, DIM)
    found = {}
    for name, encode in systems.items():
        query, document = (
            encode(side, task) for side, task in zip((one.queries, one.documents), one.tasks, strict=True)
        )
        found[name] = (query, document)
    found[TEACHER] = tuple(map(task_target, found[TEACHER]))  # where the mappers end
    return found


def mapped(model: unbraid.Embedder, base: Sides, tasks: tuple[str, str], dim: int, numbers: str) -> Sides:
    """Task vectors of both sides; only documents are stored in `numbers`, as in an index."""
    query = model.map(base[0], tasks[0], dim=dim)
    stored = model.map(base[1], tasks[1], dim=dim, numbers=numbers).astype(np.float32)
    return query, stored / np.linalg.norm(stored, axis=1, keepdims=True)  # int8 has a scale for each vector


def scores_of(
    one: DevSet, base: Mapping[str, Sides], others: Mapping[str, Sides], model: unbraid.Embedder
) -> list[dict[str, float]]:
    """The rows of one set in the four tables."""
    own = {name: mapped(model, pair, one.tasks, DIM, "float32") for name, pair in base.items()}
    alone = {name: score(one, *pair) for name, pair in {**own, **others}.items()}
    alone |= {f"{name}, no mapper": score(one, *pair) for name, pair in base.items()}
    documents = {name: pair[1] for name, pair in {**own, **others}.items() if name in own or name == TEACHER}
    crossed = {
        f"{left} on {right}": score(one, query, documents[right]) / alone[right]
        for left, (query, _) in own.items()
        for right in documents
        if left != right
    }
    modes = {
        f"{name}, {mode}": score(one, *mapped(model, pair, tasks, DIM, "float32"))
        for name, pair in base.items()
        for mode, tasks in SEARCH_MODES.items()
    }
    shorter = {
        f"{name}, {dim} {numbers}": score(one, *mapped(model, pair, one.tasks, dim, numbers)) / alone[name]
        for name, pair in base.items()
        for dim, numbers in SHORTER
    }
    return [alone, crossed, modes, shorter]


def shown(head: str, rows: Sequence[Mapping[str, object]]) -> str:
    """A table of the rows and of the means of their groups."""
    columns = list(
        dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, float))
    )
    named = [(str(row["set"]), row) for row in rows]
    named += [(f"mean of {row['sets']} {row['mean of']}", row) for row in group_means(rows)]
    cells = [[name, *(f"{row[one]:.3f}" if one in row else "" for one in columns)] for name, row in named]
    return markdown_table([[head, *columns], *cells], numbers_from=1)


def main() -> None:
    """Encode, score, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--teacher", type=Path, help="folder of `unbraid train join`")
    parser.add_argument("--dev-labels", type=Path, nargs="*", default=[])
    parser.add_argument("--tiers", nargs="*", default=[], help=f"some tiers; {ROUTED}: as languages choose")
    parser.add_argument("--sets", nargs="*", default=[], help="names, or their beginnings")
    parser.add_argument(
        "--record", type=Path, help="add the tables to this file, for a card; the last option"
    )
    given = parser.parse_args()
    if (given.teacher is None) != (not given.dev_labels):
        parser.error("--teacher goes with --dev-labels")
    bundle = unbraid.load(given.bundle).bundle
    chosen = given.tiers or [*bundle.tiers]
    tiers = {name: unbraid.load(given.bundle, tier=None if name == ROUTED else name) for name in chosen}
    sets = dev_sets(given.data, queries=given.queries, documents=given.documents)
    sets = [one for one in sets if not given.sets or one.name.startswith(tuple(given.sets))]
    if not sets:
        parser.error(f"no set begins with {' or '.join(given.sets)}")
    members = open_members(given.dev_labels) if given.teacher else None
    space = load_member_space(given.teacher / SPACE) if given.teacher else None
    tables: list[list[dict[str, object]]] = [[], [], [], []]
    with tempfile.TemporaryDirectory() as folder:
        minilm = minilm_runtime(Path(folder))
        for one in sets:
            print(
                f"<!-- {one.name}: {len(one.queries)} queries, {len(one.documents)} documents -->", flush=True
            )
            base = {
                name: (
                    encode_tier(model, one.queries, "query"),
                    encode_tier(model, one.documents, "document"),
                )
                for name, model in tiers.items()
            }
            others = taught(members, space, one) if members and space else {}
            others[MINILM] = (encode_minilm(minilm, one.queries), encode_minilm(minilm, one.documents))
            rows = scores_of(one, base, others, next(iter(tiers.values())))
            for table, row in zip(tables, rows, strict=True):
                table.append({"set": one.name, "group": group_of(one), **row})
    heads = ("set", "share", "mode", "share kept")
    text = "\n\n".join(shown(head, table) for head, table in zip(heads, tables, strict=True))
    print(f"\n{text}", flush=True)
    if given.record:
        add_scores(given.record, text, program="python benchmarks/tiers.py")


main()
