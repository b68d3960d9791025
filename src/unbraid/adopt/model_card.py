"""What the card of a published model says in its front matter."""

from pathlib import Path

UNKNOWN = "unknown: see the model's own page"


def read_licence(folder: Path) -> str:
    """The licence that README.md in `folder` states, or UNKNOWN."""
    import yaml

    try:
        _, front, _ = (folder / "README.md").read_text(encoding="utf-8", errors="replace").split("---", 2)
        about = yaml.safe_load(front)
    except (OSError, ValueError, yaml.YAMLError):
        return UNKNOWN
    licence = about.get("license_name") or about.get("license") if isinstance(about, dict) else None
    return str(licence) if licence else UNKNOWN
