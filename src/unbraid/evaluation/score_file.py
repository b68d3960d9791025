"""The score file of `unbraid evaluate --record`, for the card of a bundle: command -> table."""

import json
import sys
from pathlib import Path
from typing import Any

from unbraid.errors import DataError
from unbraid.io.atomic import write_atomic


def read_scores(path: Path) -> dict[str, Any]:
    """Tables by command; empty when the file does not exist yet. Raises DataError for any other content."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(about["tables"], dict):
            return {"tables": about["tables"]}
    except FileNotFoundError:
        if path.absolute().parent.is_dir():
            return {"tables": {}}
        raise DataError(f"{path}: its folder does not exist") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not what `unbraid evaluate --record` writes: {error!r}") from error
    raise DataError(f"{path}: not what `unbraid evaluate --record` writes")


def add_scores(path: Path, text: str, *, program: str = "unbraid") -> None:
    """Add the table `text` under the command line of this process. Raises DataError as `read_scores` does."""
    shown = " ".join([program, *sys.argv[1:]]).split(" --record")[0]
    about = read_scores(path)
    about["tables"][shown] = text
    write_atomic(path, json.dumps(about, indent=1, ensure_ascii=False).encode())
