"""`unbraid train ...`: everything that makes a bundle, from data and a teacher to exported graphs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unbraid.bundle import PRECISIONS
from unbraid.cli import teacher as cli_teacher
from unbraid.cli.options import Device, one_of
from unbraid.errors import require
from unbraid.evaluation.score_file import read_scores

DTYPES = ("float32", "bfloat16")  # of a teacher

app = typer.Typer(
    help="Make a bundle: label, distill, export; train a teacher's adapters.", no_args_is_help=True
)
app.add_typer(cli_teacher.app, name="teacher")

Data = Annotated[Path, typer.Option("--data", help="Folder that the recipe's file names start from.")]
Run = Annotated[Path, typer.Option("--run", help="Folder for everything that this run makes.")]
RecipeName = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE", help="A TOML file, or the name of a shipped one, such as starter or tower."
    ),
]
Queries = Annotated[int, typer.Option("--queries", help="At most this many in a dev set.", min=1)]
Documents = Annotated[int, typer.Option("--documents", help="At most this many in a dev set.", min=1)]


@app.command()
def pairs(
    out: Annotated[
        Path, typer.Option("--out", help="Data folder: text/ and code/ below it get a file each.")
    ],
    packages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PACKAGE...", help="Installed packages; those of the shipped recipes if left out."
        ),
    ] = None,
) -> None:
    """Write training pairs from the docstrings of installed Python packages.

    A docstring's summary is paired with the function, and with the rest of the docstring.
    """
    from unbraid.distill.data.package_pairs import PACKAGES, docstring_pairs, licence, write_pairs

    names = packages or list(PACKAGES)
    mined = docstring_pairs(names)
    for file, found in (("code/packages.jsonl.gz", mined.code), ("text/package_docs.jsonl.gz", mined.docs)):
        write_pairs(out / file, found)
        typer.echo(f"{len(found)} pairs in {out / file}")
    for name in names:
        typer.echo(f"{name}: {licence(name)}")


@app.command()
def items(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder that the sources' file names start from.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file, .jsonl.gz.")],
    dev: Annotated[
        bool, typer.Option("--dev", help="The dev sets' items instead, of sources that are never trained on.")
    ] = False,
    queries: Queries = 250,
    documents: Documents = 800,
) -> None:
    """Write the items of a joined teacher as one file, in an order whose every prefix is a balanced sample.

    The sources and the dev sets stand in unbraid.distill.data.item_sources.
    """
    from unbraid.distill.data.dev_sets import dev_items, dev_sets
    from unbraid.distill.data.member_items import joined_items, write_items

    if dev:
        found = dev_items(dev_sets(data, queries=queries, documents=documents))
    else:
        found = joined_items(data)
    write_items(out, found)
    typer.echo(f"{len(found)} items in {out}")


@app.command()
def label(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="The folder of a recipe's files, or a .jsonl[.gz] of items."),
    ],
    output: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the labels; existing labels there are kept.")
    ],
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Name, folder or hub id; the recipe's if left out. A recipe that joins members has none."
        ),
    ] = None,
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas, or all.")] = "all",
    recipe: Annotated[
        Path, typer.Option(help='Says which fields of which files are items: a TOML file, or "starter".')
    ] = Path("starter"),
    items: Annotated[
        int | None, typer.Option(help="At most this many; the recipe's number if left out.", min=1)
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16; the recipe's for its teacher.", callback=one_of(DTYPES)),
    ] = None,
    device: Device = None,
    check: Annotated[
        bool, typer.Option("--check", help="Label nothing: encode a sample again and compare.")
    ] = False,
    sample: Annotated[int | None, typer.Option(help="Rows for --check; 64 if left out.", min=1)] = None,
) -> None:
    """Write a teacher's vectors of texts, code and pictures; run it again to resume.

    A line of a .jsonl file is {"text": ...}, {"code": ..., "anchor": its description, if any} or {"image": path}. A
    text in another language has "lang", and may have "english", which mpnet and minilm read instead.
    """
    if sample is not None and not check:
        raise typer.BadParameter("--sample goes with --check")
    require("torch", "teacher")
    require("pyarrow", "teacher")
    from unbraid.distill.data.training_items import file_items
    from unbraid.distill.labels.check_labels import check_labels
    from unbraid.distill.labels.member_labels import readable_items
    from unbraid.distill.labels.write_labels import label as label_items
    from unbraid.distill.pipeline import items_to_label
    from unbraid.distill.recipe import read_recipe
    from unbraid.distill.recipe_models import below_data, torch_dtype
    from unbraid.teacher import load as load_teacher
    from unbraid.teacher.members.member_spec import MEMBERS, stored_routes

    plan = read_recipe(recipe)
    found = items_to_label(plan, data, output, most=items) if data.is_dir() else file_items(data, most=items)
    own = teacher in (None, plan.teacher)
    chosen = load_teacher(
        teacher or below_data(plan.teacher, data),
        device=device,
        dtype=dtype or (torch_dtype(plan, device) if own else None),
    )
    wanted = [] if tasks == "all" else tasks.split(",")
    if (member := MEMBERS.get(str(chosen.about.get("member")))) is not None:
        found = readable_items(member, found)
        wanted = wanted or list(stored_routes(member.routes).values())
    if check:
        for row in check_labels(found, output, chosen, tasks=wanted, sample=sample or 64):
            typer.echo(
                f"{row.route}: least cosine {row.least:.6f}, mean {row.mean:.6f} of {row.items} items encoded again"
            )
        return
    done = label_items(found, output, chosen, tasks=wanted)
    total = done.before + done.now
    if done.interrupted:
        typer.echo(
            f"unbraid: interrupted; {total:,} of {done.wanted:,} items are labelled; run it again to resume",
            err=True,
        )
        raise typer.Exit(130)
    typer.echo(f"{total} items labelled by {chosen.id} in {output}, {done.now} of them now")


@app.command()
def join(
    labels: Annotated[
        list[Path],
        typer.Argument(metavar="LABELS...", help="Folders of `unbraid train label`, one for each member."),
    ],
    items: Annotated[Path, typer.Option("--items", help="The labelled file of `unbraid train items`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the joined teacher.")],
    weight: Annotated[
        list[str] | None, typer.Option("--weight", help="NAME=NUMBER, for a member; repeat it.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Fit to the first items of the file.", min=2)] = None,
    joined: Annotated[
        Path | None, typer.Option("--labels", help="Folder for the joined labels, which training reads.")
    ] = None,
    dev: Annotated[Path | None, typer.Option("--dev", help="Data folder of the dev sets, to score.")] = None,
    dev_labels: Annotated[
        list[Path] | None,
        typer.Option("--dev-labels", help="The dev items' labels by one member; repeat it."),
    ] = None,
    queries: Queries = 250,
    documents: Documents = 800,
) -> None:
    """Join the labels of several members into one teacher of 512 dimensions; prints JSON lines.

    Each member is centred and weighted, and one projection is fitted. Weights can change without new labels. With
    --dev, every member and the joined vectors are scored.
    """
    if (dev is None) != (not dev_labels):
        raise typer.BadParameter("--dev goes with --dev-labels")
    weights = dict(map(_weight, weight or []))
    require("torch", "teacher")
    require("pyarrow", "teacher")
    if dev:
        require("ir_measures", "evaluate")
    from unbraid.distill.data.dev_sets import dev_sets
    from unbraid.distill.data.training_items import file_items
    from unbraid.distill.space.fit_members import fit_member_space, kept_energy, open_members, write_joined
    from unbraid.distill.space.members_report import group_means, score_table
    from unbraid.teacher.members.members_teacher import SPACE, teacher_id

    members = open_members(labels)
    found = [item for item in file_items(items, most=limit) if members.covers(item)]
    space = fit_member_space(members, found, weights=weights)
    out.mkdir(parents=True, exist_ok=True)
    space.save(out / SPACE)
    about = {"teacher": teacher_id(space), "items": len(found)}
    typer.echo(json.dumps(about | {"kept energy": round(kept_energy(members, found, space), 4)}))
    if joined:
        typer.echo(json.dumps({"labels": str(joined), "new": write_joined(members, found, space, joined)}))
    if dev:
        sets = dev_sets(dev, queries=queries, documents=documents)
        rows = score_table(sets, open_members(dev_labels or []), space)
        for row in [*rows, *group_means(rows)]:
            typer.echo(json.dumps(row))


def _weight(given: str) -> tuple[str, float]:
    name, _, number = given.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise typer.BadParameter(f"--weight {given!r}: expected NAME=NUMBER with a positive number")
    return name, value


@app.command()
def ceiling(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="A folder of `unbraid train label`.")],
    datasets: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATASET...",
            help="BEIR folders, pair or STS files (.jsonl[.gz]), for their scores too.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Name, folder or hub id of the labels' teacher; only needed for data sets."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for ceiling.json and ceiling.png.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Search mode, retrieval or code; default: each set's own.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most this many queries of a data set, a seeded sample.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the base space.")] = 17,
    device: Device = None,
) -> None:
    """Measure, before any training, how much of each task a 512-d base vector can hold.

    Fits the base space and linear read-outs from 512, 256, 128 and 64 of its dimensions to nine tenths of the labels
    and measures them on the rest. On data sets it shows the teacher's own scores beside them.
    """
    if datasets and teacher is None:
        raise typer.BadParameter("data sets need the labels' teacher: name it with --teacher")
    require("torch", "train")
    require("pyarrow", "teacher")
    require("ir_measures", "evaluate")
    from unbraid.distill.labels.label_store import read_description, read_shards
    from unbraid.distill.labels.write_labels import teacher_of_store
    from unbraid.distill.space.ceiling import dataset_rows, fit_read_outs, route_ceilings
    from unbraid.distill.space.ceiling_report import Report
    from unbraid.distill.space.fit_space import fitted_space
    from unbraid.evaluation import read_dataset

    sets = [read_dataset(path, mode=mode, limit=limit) for path in datasets or []]
    chosen = teacher_of_store(teacher, labels, device=device) if teacher and sets else None
    read_outs, held = fit_read_outs(read_shards(labels), fitted_space(labels, seed=seed))
    rows = [row for one in sets if chosen for row in dataset_rows(one, chosen, read_outs)]
    report = Report(
        read_description(labels)["teacher"], read_outs.space.kept, route_ceilings(read_outs, held), rows
    )
    typer.echo(report.tables())
    if out:
        report.write(out)


@app.command()
def distill(
    recipe: RecipeName,
    data: Data,
    run: Run,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the bundle, exported when all is trained.")
    ] = None,
    device: Device = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only print the cost; make nothing.")] = False,
) -> None:
    """Label, fit the base space and its ceiling, train the students, fit the mappers, export.

    Prints the cost first. Finished stages and labels are kept: run it again to resume.
    """
    require("torch", "train")
    require("pyarrow", "teacher")
    if out:
        require("onnx", "export")
    from unbraid.distill.estimate import estimate_run
    from unbraid.distill.pipeline import run_stages
    from unbraid.distill.recipe import read_recipe

    plan = read_recipe(recipe)
    if estimate or not (run / "text" / "record.json").exists():
        typer.echo(estimate_run(plan, data, device=device))
    if estimate:
        return
    for line in run_stages(plan, data, run, device=device):
        typer.echo(line)
    if out:
        from unbraid.export import export_bundle

        export_bundle(run, out)
        typer.echo(f"bundle: {out}")


@app.command()
def tower(
    recipe: RecipeName,
    bundle: Annotated[
        str, typer.Option("--bundle", help="The bundle whose space is used: a folder or hub id; not changed.")
    ],
    data: Data,
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle.")],
    scores: Annotated[
        Path | None,
        typer.Option(help="A file of `unbraid evaluate --record` on the new bundle, for the card."),
    ] = None,
) -> None:
    """Train an image tower into a bundle's space from captioned pictures, without a teacher or labels.

    The bundle encodes the captions. Its text graphs, mappers and ids stay the same byte for byte, so stored vectors of
    texts stay valid. Run it again to resume; a finished tower is only exported again.
    """
    require("torch", "train")
    require("onnx", "export")
    from unbraid.distill.recipe import read_recipe
    from unbraid.distill.train_tower import train_tower
    from unbraid.export import export_tower
    from unbraid.loading import load
    from unbraid.training.record import recipe_table

    measured = read_scores(scores) if scores else None
    model = load(bundle)
    plan = read_recipe(recipe)
    train_tower(plan, data, run, model)
    export_tower(recipe_table(plan), run, model.bundle.folder, out, scores=measured)
    typer.echo(f"bundle: {out}")


@app.command()
def heads(
    recipe: RecipeName,
    bundle: Annotated[
        str, typer.Option("--bundle", help="The bundle that gets them: a folder or hub id; not changed.")
    ],
    data: Data,
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="A store of teacher vectors that holds some of the texts, such as RUN/labels."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="A file of `unbraid evaluate --record` on the new bundle, for the card."),
    ] = None,
) -> None:
    """Train multi-vector heads for the text tiers of a bundle from pairs of queries and documents.

    The encoders, mappers and ids stay the same byte for byte, so stored vectors stay valid. Run it again to resume; a
    finished head is only exported again.
    """
    require("torch", "train")
    require("onnx", "export")
    from unbraid.distill.recipe import read_recipe
    from unbraid.distill.train_heads import train_heads
    from unbraid.export import export_heads
    from unbraid.loading import load
    from unbraid.training.record import recipe_table

    measured = read_scores(scores) if scores else None
    model = load(bundle)
    plan = read_recipe(recipe)
    train_heads(plan, data, run, model, labels)
    export_heads(recipe_table(plan), run, model, out, scores=measured)
    typer.echo(f"bundle: {out}")


@app.command()
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a finished `unbraid train distill`.")
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE", help="Folder of the bundle; an older bundle there is replaced."),
    ],
    precisions: Annotated[
        str,
        typer.Option(help="Precisions of the text graphs, separated by commas; the first is the default."),
    ] = ",".join(PRECISIONS),
    scores: Annotated[
        Path | None, typer.Option(help="A file of `unbraid evaluate --record`, for the card.")
    ] = None,
) -> None:
    """Write a run as a bundle: ONNX graphs checked against torch, tokenizer, card, hashes."""
    require("onnx", "export")
    from dataclasses import asdict

    from unbraid.export import export_bundle

    wanted = precisions.split(",")
    if not set(wanted) <= set(PRECISIONS):
        raise typer.BadParameter(f"{precisions!r}: expected {' and '.join(PRECISIONS)}, separated by a comma")
    measured = read_scores(scores) if scores else None
    for parity in export_bundle(run, out, precisions=wanted, scores=measured):
        typer.echo(json.dumps(asdict(parity)))
