"""`unbraid info`: what a bundle or an index holds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid import __version__
from unbraid.cli.options import AsJson, show
from unbraid.loading import load


def info(
    place: Annotated[
        str | None, typer.Argument(help="A bundle or an index; default: the starter bundle.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a bundle or an index holds."""
    is_index = place is not None and (Path(place) / "unbraid.json").exists()
    show(_index(Path(place)) if is_index and place else _bundle(place), as_json)


def _bundle(place: str | None) -> dict[str, Any]:
    from unbraid.cli.tiers import default_tiers, languages_of, prompts_of

    bundle = load(place).bundle
    return {
        "bundle": f"{bundle.name} {bundle.version}",
        "folder": str(bundle.folder),
        "id": bundle.id,
        "base id": bundle.base_id,
        "dims": ", ".join(map(str, bundle.dims)),
        "encoders": "; ".join(f"{name} ({', '.join(bundle.graphs[name])})" for name in bundle.modalities),
        "tiers": ", ".join(bundle.tiers),
        "default tiers": default_tiers(bundle),
        "languages": languages_of(bundle),
        **prompts_of(bundle),
        "mappers": ", ".join(f"{task} ({spec.kind})" for task, spec in bundle.mappers.items()),
        "search modes": ", ".join(f"{mode} = {q} × {d}" for mode, (q, d) in bundle.search_modes.items()),
        "size": f"{sum(bundle.sizes.values()) / 1e6:.1f} MB in {len(bundle.sizes) + 1} files",
        "unbraid": __version__,
        "card": str(bundle.folder / "README.md"),
    }


def _index(folder: Path) -> dict[str, Any]:
    from unbraid.cli.tiers import encoded_by, written_in
    from unbraid.loading import open_index

    with open_index(folder, read_only=True) as index:
        meta, stats = index.meta, index.stats()
    return {
        "index": str(folder),
        "base id": meta.base_id,
        "dim": meta.dim,
        "files": stats.files,
        "chunks": ", ".join(f"{count} {kind}" for kind, count in stats.chunks.items()),
        "encoded by": encoded_by(stats),
        "written in": written_in(stats.text_languages, meta.provenance.languages)
        or "English, or not looked for",
        "size": f"{(stats.bytes or 0) / 1e6:.1f} MB",
    }
