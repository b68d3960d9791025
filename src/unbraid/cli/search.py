"""`unbraid search`: find chunks and pictures of an index by words, code or pictures."""

import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.cli.options import Model, Tier, custom_mapper, one_of
from unbraid.cli.place import IndexName, existing, one_place
from unbraid.cli.qdrant import Name, Url
from unbraid.cli.refresh_few import refresh_few
from unbraid.cli.show_hit import readable
from unbraid.config import read_config
from unbraid.errors import DataError
from unbraid.io.printable import printable
from unbraid.items import MODALITIES, Code, Item, suffix_modality
from unbraid.loading import load, open_index
from unbraid.mix import NOT, WORDS, Mix, Query, shared_weights
from unbraid.runtime.preprocess import decode

app = typer.Typer()


@app.command()
def search(
    query: Annotated[
        str | None, typer.Argument(help="Words, or code with --code; leave out with --image or --queries.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--in", help="Folder of the index; by default the one of your own.")
    ] = None,
    own_index: IndexName = None,
    url: Url = None,
    name: Name = None,
    mode: Annotated[
        str,
        typer.Option("--mode", "--task", help="retrieval, symmetric (same meaning), code or a .mapper file."),
    ] = "retrieval",
    image: Annotated[
        list[Path] | None,
        typer.Option(
            help="A picture to search by, alone or together with the words; may be given several times."
        ),
    ] = None,
    unwanted: Annotated[
        list[str] | None,
        typer.Option(
            "--not",
            metavar="PICTURE|TEXT",
            help=f"Not like this picture file or these words: counts {NOT:g} against all that is wanted, which is 1; may be "
            "given several times.",
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            "--weight",
            help=f"Share of the words beside --image, 0 to 1; all pictures together have the rest. Default: {WORDS:g}.",
            min=0,
            max=1,
        ),
    ] = None,
    lines: Annotated[
        Path | None, typer.Option("--queries", help="A file with one query per line; - for standard input.")
    ] = None,
    code: Annotated[bool, typer.Option("--code", help="The queries are code snippets.")] = False,
    vectors_only: Annotated[
        bool | None,
        typer.Option(
            "--vectors-only/--with-words",
            help="Search by meaning alone, so that the words of a query do not count; or by both, as is usual.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many results.", min=1, max=10_000)] = 10,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            help="Leave out results below this probability of being relevant, 0 to 1. By default all are shown when the "
            "best one may be relevant, and none otherwise; --json shows all.",
            min=0,
            max=1,
        ),
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="Only text, code or image results.", callback=one_of(MODALITIES))
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this file or folder, or a pattern: '*.md', 'docs/**/*.md'; relative to the working folder."
        ),
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Only files of this language: python, c++, markdown, ...")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only files whose field fits: 'team=search', 'year>=2024', 'draft!=yes', 'modified>=2026-10', 'size<100kB'."
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            metavar="on|off|TIME",
            help="Look at the first 50 results a second time, by the vectors of their words: as long as it takes (on), or "
            "for a time such as 30ms; a number looks at as many. Default: 20ms where `index --multi-vector` stored them, else off.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show which words of a result answered which words of the query."),
    ] = False,
    model: Model = None,
    tier: Tier = None,
    query_language: Annotated[
        str | None,
        typer.Option(
            "--query-language", help="Language of the queries, such as de; by default found in each of them."
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context", "-C", help="Show the best line with this many before and after it.", min=0, max=40
        ),
    ] = None,
    files: Annotated[
        bool, typer.Option("--files-with-matches", "-l", help="Only the file of each result, once.")
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", "-c", help="Only how many results each file has.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a result.")] = False,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Bring the index up to date first, if no more than a hundred files have changed.",
        ),
    ] = False,
) -> None:
    """Search an index by words, by code, by pictures, or by words and pictures together.

    Of several --path or --language one is enough. A result holds every "phrase in quotes" of the query. Exits with 1
    when nothing is found.
    """
    from unbraid.index.search.relevance import FLOOR

    if files + count + as_json > 1:
        raise typer.BadParameter("give one of --files-with-matches, --count and --json")
    words = _words(query, lines)
    queries = _queries(words, image or [], unwanted or [], weight, code)
    own = custom_mapper(mode)

    config = read_config()
    if tier is None and model is None:
        tier = config.tier

    def embedder() -> Any:
        loaded = load(model, tier=tier, language=query_language)
        return loaded.with_mapper(own) if own else loaded

    chosen = one_place(folder, "--in", own_index, url, name)
    if chosen is not None and folder is None:
        existing(chosen)
    with open_index(chosen, qdrant=url, collection=name, model=embedder, read_only=not refresh) as index:
        if refresh:
            refresh_few(index)
        results = index.search(
            queries,
            mode=own.name if own else mode,
            k=k,
            vectors_only=config.vectors_only if vectors_only is None else vectors_only,
            min_score=min_score or 0.0,
            modality=modality,
            path=path or None,
            language=language or None,
            where=where or (),
            rerank=rerank,
            explain=explain,
        )
    marked = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    found_any = False
    for asked, hits in zip(words or [""], results, strict=True):
        nearest = max((hit.score for hit in hits), default=0.0)
        nothing_relevant = min_score is None and not as_json and bool(hits) and nearest < FLOOR
        if nothing_relevant:
            hits = []
        found_any |= bool(hits)
        if as_json:
            for hit in hits:
                about: dict[str, Any] = {"query": asked} if len(words) > 1 else {}
                about |= {**asdict(hit), "exists": hit.exists}
                if not explain:
                    del about["why"]
                typer.echo(json.dumps(about, ensure_ascii=False))
            continue
        if len(words) > 1:
            typer.echo(f"{asked}:")
        if files or count:
            for place, number in Counter(printable(hit.path) for hit in hits).items():
                typer.echo(f"{place}:{number}" if count else place)
        else:
            for hit in hits:
                typer.echo(readable(hit, asked, context=context, marked=marked))
        if nothing_relevant:
            typer.echo(
                f"nothing relevant: the best result has a probability of {nearest:.3f}; --min-score 0 shows what is nearest",
                err=True,
            )
        elif not hits and min_score:
            typer.echo(f"nothing found with a score of {min_score} or more", err=True)
        elif not hits:
            typer.echo(
                "nothing found: the index is empty, or no chunk passes the filters or holds the quoted phrase",
                err=True,
            )
    if not found_any:
        raise typer.Exit(1)


def _words(query: str | None, lines: Path | None) -> list[str]:
    """The words of each query; none where pictures alone are the query."""
    words = [*([] if query is None else [query]), *(_read_lines(lines) if lines else [])]
    if any(not one.strip() for one in words):
        raise typer.BadParameter("a QUERY is blank: give it words")
    return words


def _queries(
    words: list[str], pictures: list[Path], unwanted: list[str], weight: float | None, code: bool
) -> list[Query]:
    """Each query of words together with all pictures and without what is not wanted, or one of pictures alone."""
    if not words and not pictures:
        raise typer.BadParameter("give a QUERY, --image FILE or --queries FILE")
    if code and not words:
        raise typer.BadParameter("--code goes with a QUERY, not with --image")
    if weight is not None and not (words and pictures):
        raise typer.BadParameter("--weight is the share of words beside pictures: give a QUERY and --image")
    if any(not one.strip() for one in unwanted):
        raise typer.BadParameter("a --not is blank: give it words or a picture")
    texts: list[Item] = [Code(one) if code else one for one in words]
    if not pictures and not unwanted:
        return [*texts]
    shown = [decode(one) for one in pictures]
    against = [_unwanted(one) for one in unwanted]
    weights = shared_weights(
        [False] * bool(words) + [True] * len(shown), WORDS if weight is None else weight, len(against)
    )
    return [Mix([one, *shown, *against], weights) for one in texts] or [Mix([*shown, *against], weights)]


def _unwanted(given: str) -> Item:
    """The picture that a --not names, or its words."""
    return decode(Path(given)) if suffix_modality(Path(given)) == "image" else given


def _read_lines(path: Path) -> list[str]:
    """The lines of a file that are not blank. Raises DataError when there are none, or the file is no UTF-8 text."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        text = data.decode("utf-8-sig")  # whatever the console's own encoding is
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    found = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if not found:
        raise DataError(f"{path}: holds no query: expected one a line")
    return found
