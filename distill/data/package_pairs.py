"""Pairs from installed Python packages: a docstring's summary with the function, or with the rest of the docstring."""

import ast
import gzip
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from importlib.util import find_spec
from pathlib import Path

from unbraid.custom_mapper.function_pairs import Function, without_docstring
from unbraid.errors import DataError

# What the shipped recipes read: installed with the training extras, under permissive licences. scipy and sklearn are
# left out: their docstrings are a test set (benchmarks/dev_sets.py).
PACKAGES = (
    *("torch", "torchvision", "transformers", "sentence_transformers", "peft", "accelerate", "timm", "numpy"),
    *("sympy", "networkx", "matplotlib", "huggingface_hub", "onnx", "onnxruntime", "pygments", "rich", "pip"),
    *("setuptools", "open_clip", "tokenizers", "mpmath", "fsspec", "jinja2", "joblib", "typer", "click"),
    *("pydantic", "psutil", "yaml", "regex", "anyio", "filelock", "packaging"),
)

LEAST_SUMMARY, MOST_SUMMARY = 20, {"code": 300, "docs": 200}  # characters that a description may have
LEAST = {"code": 60, "docs": 80}  # characters that a positive must have
MOST = {"code": 2000, "docs": 1500}  # that are kept of it; training cuts far earlier
LONGEST_CODE = 4000  # a longer function does more than its summary says
NOT_READ = {
    "test",
    "tests",
    "testing",
    "_vendor",
}  # tests describe little, vendored copies are other projects


@dataclass(frozen=True)
class PackagePairs:
    """Pairs (summary, positive, package); each summary and each positive stands once."""

    code: list[tuple[str, str, str]]  # summary -> function without its docstring
    docs: list[tuple[str, str, str]]  # summary -> the rest of the docstring


def docstring_pairs(packages: Sequence[str]) -> PackagePairs:
    """Pairs of the documented functions and classes of `packages`, which are read and not imported.

    Raises DataError for a package that is not installed or has no Python source.
    """
    code: dict[str, tuple[str, str, str]] = {}
    docs: dict[str, tuple[str, str, str]] = {}
    for package in packages:
        for node in _documented(package):
            summary, _, rest = inspect.cleandoc(ast.get_docstring(node) or "").partition("\n\n")
            summary = " ".join(summary.split())
            if len(rest) >= LEAST["docs"] and LEAST_SUMMARY <= len(summary) <= MOST_SUMMARY["docs"]:
                docs.setdefault(summary, (summary, rest[: MOST["docs"]], package))
            if isinstance(node, Function) and LEAST_SUMMARY <= len(summary) <= MOST_SUMMARY["code"]:
                body = without_docstring(node)
                if LEAST["code"] <= len(body) <= LONGEST_CODE:
                    code.setdefault(summary, (summary, body[: MOST["code"]], package))
    return PackagePairs(_distinct(code), _distinct(docs))


def licence(package: str) -> str:
    """What the metadata of an installed package say about its licence, or "not stated"."""
    try:
        about = metadata(packages_distributions().get(package, [package])[0])
    except PackageNotFoundError:
        return "not stated"
    classifiers = [one for one in about.get_all("Classifier") or [] if one.startswith("License ::")]
    said = [
        *(about.get_all("License-Expression") or []),
        "; ".join(one.split(" :: ")[-1] for one in classifiers),
        *(about.get_all("License") or []),
    ]
    return next((one.splitlines()[0] for one in said if one.strip()), "not stated")


def write_pairs(path: Path, pairs: Sequence[tuple[str, str, str]]) -> None:
    """Write pairs as gzip JSON lines {"anchor", "positive", "package"}; equal pairs give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(
        json.dumps({"anchor": anchor, "positive": positive, "package": package}) + "\n"
        for anchor, positive, package in pairs
    )
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def _documented(package: str) -> Iterator[Function | ast.ClassDef]:
    """Every function and class of the package that has a docstring, file by file."""
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise DataError(f"{package}: no installed Python package of that name: `pip install` it first")
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    for path in files:
        if NOT_READ & set(path.relative_to(origin.parent).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (
            SyntaxError,
            UnicodeDecodeError,
            ValueError,
        ):  # templates and files for other versions of Python
            continue
        for node in ast.walk(tree):
            if isinstance(node, Function | ast.ClassDef) and ast.get_docstring(node):
                yield node


def _distinct(pairs: dict[str, tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The pairs whose positive has not been seen before."""
    by_positive: dict[str, tuple[str, str, str]] = {}
    for pair in pairs.values():
        by_positive.setdefault(pair[1], pair)
    return list(by_positive.values())
