"""The layout and who may import whom (docs/decisions.md), held by reading the source."""

import ast
import graphlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SRC = "src"  # stands for src/unbraid, which every folder may import
ALLOWED = {
    SRC: set(),
    "base_encoders": {SRC},
    "mappers": {SRC},
    "teacher": {SRC},
    "training": {SRC},
    "adapters": {SRC, "teacher", "training", "evaluation"},
    "distill": {SRC, "teacher", "training", "base_encoders", "mappers", "drawings", "evaluation"},
    "export": {SRC, "base_encoders", "mappers"},
    "evaluation": {SRC, "index"},
    "index": {SRC},
    "scale": {SRC, "teacher"},
    "serve": {SRC, "index", "teacher"},
    "drawings": set(),
}
COMMAND_LINES = [
    f"unbraid.{name}"
    for name in (
        "cli",
        "cli_analyse",
        "cli_convert",
        "cli_distill",
        "cli_encode",
        "cli_index",
        "cli_mapper",
        "cli_qdrant",
        "cli_retask",
        "cli_search",
        "cli_serve",
        "cli_teacher",
    )
]
HEAVY = {"torch", "torchvision", "transformers", "timm", "open_clip", "sentence_transformers"}
LATE = HEAVY | {
    *("fastapi", "qdrant_edge", "huggingface_hub", "pyarrow", "onnx", "scipy", "matplotlib", "rich"),
    *("tree_sitter", "pypdf", "ray", "qdrant_client", "uvicorn", "pydantic", "orjson", "prometheus_client"),
}


def python_folders() -> list[str]:
    """Folders of the repository that are packages."""
    return sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of everything under one import name."""
    found = {}
    for folder, prefix in [(ROOT / "src" / "unbraid", "unbraid")] + [
        (ROOT / name, f"unbraid.{name}") for name in python_folders()
    ]:
        for path in folder.glob("*.py"):
            found[prefix if path.stem == "__init__" else f"{prefix}.{path.stem}"] = path
    return found


def folder_of(module: str) -> str:
    """The folder a dotted name lies in; SRC for those of src/unbraid."""
    part = module.split(".")[1] if "." in module else ""
    return part if part in python_folders() else SRC


@cache
def imports(module: str) -> list[tuple[str, bool]]:
    """Every module that `module` names in an import, and whether that happens when it is itself imported."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return list(_imports(tree, top=True))


def _imports(node: ast.AST, *, top: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((name.name, top) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "import absolutely"
            for name in child.names:
                inner = f"{child.module}.{name.name}"
                yield (inner if inner in modules() else str(child.module)), top
        else:
            yield from _imports(
                child, top=top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            )


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def fresh(code: str, environment: dict[str, str] | None = None) -> Any:
    """What `code` prints as JSON in an interpreter of its own."""
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd="/", env=environment)
    return json.loads(answer.stdout)


# -- who may import whom -----------------------------------------------------------------------------------


def test_every_folder_has_its_rule():
    assert set(python_folders()) == set(ALLOWED) - {SRC}


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_it_may(folder):
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if folder_of(module) == folder and module not in COMMAND_LINES
        for target, _ in imports(module)
        if target.split(".")[0] == "unbraid" and folder_of(target) not in ALLOWED[folder] | {folder}
    ]
    assert wrong == []


@pytest.mark.parametrize("module", COMMAND_LINES)
def test_the_command_line_imports_folders_inside_its_functions_only(module):
    assert {folder_of(target) for target, top in imports(module) if top} == {SRC}


def test_nothing_imports_the_command_line_but_its_entry():
    users = {module for module in modules() if any(target == "unbraid.cli" for target, _ in imports(module))}
    assert users <= {"unbraid.__main__"}


def test_src_imports_no_heavy_library_at_module_level():
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if folder_of(module) == SRC
        for target, top in imports(module)
        if top and target.split(".")[0] in LATE
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["index", "evaluation", "drawings"])
def test_what_works_on_vectors_or_pictures_imports_no_model_library_at_module_level(folder):
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if folder_of(module) == folder
        for target, top in imports(module)
        if top and target.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_importing_the_index_loads_nothing_of_an_extra():
    loaded = fresh("import sys, json, unbraid.index; print(json.dumps(sorted(sys.modules)))")
    assert not [
        name
        for name in loaded
        if name.startswith(("tree_sitter", "pypdf", "qdrant_client", "pyarrow", "ray"))
    ]


def test_onnxruntime_is_told_to_report_nothing_before_it_is_loaded(tmp_path):
    """It would leave a device id in the home folder, and send what it runs to its makers."""
    code = "import os, json, unbraid; unbraid.load().encode(['a']); print(json.dumps(os.environ['ORT_DISABLE_TELEMETRY']))"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert fresh(code, environment) == "1"
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_imported_by_its_bare_name():  # it would be a second copy of every class
    bare = [
        f"{module} imports {target}"
        for module in modules()
        for target, _ in imports(module)
        if target.split(".")[0] in python_folders()
    ]
    assert bare == []


def test_imports_form_no_cycle():
    graph = {
        module: {target for target, top in imports(module) if top and target in modules()} - {module}
        for module in modules()
    }
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which shows the cycle


# -- the layout is written down five times -----------------------------------------------------------------


def test_pyproject_lists_every_folder_as_a_package():
    packages = project()["tool"]["setuptools"]["packages"]
    assert sorted(packages) == sorted(["unbraid", *(f"unbraid.{name}" for name in python_folders())])


def test_pyproject_maps_every_package_to_its_folder():
    mapped = project()["tool"]["setuptools"]["package-dir"]
    assert mapped == {"unbraid": "src/unbraid"} | {f"unbraid.{name}": name for name in python_folders()}


def test_bare_imports_of_every_folder_are_banned():
    banned = project()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert sorted(banned) == python_folders()


def test_a_container_is_built_from_every_folder():
    lines = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().split()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert kept == {"src", *python_folders(), "pyproject.toml", "README.md", "LICENSE"}


@pytest.mark.skipif(not (ROOT / ".typecheck" / "unbraid").is_dir(), reason="no symbolic links here")
def test_type_checkers_see_every_folder_and_file():
    links = {path.name: path for path in (ROOT / ".typecheck" / "unbraid").iterdir() if path.is_symlink()}
    files = {path.name for path in (ROOT / "src" / "unbraid").iterdir() if path.suffix in (".py", ".typed")}
    assert set(links) == files | set(python_folders())
    for name, link in links.items():
        assert link.resolve() == (
            ROOT / name if name in python_folders() else ROOT / "src" / "unbraid" / name
        )


# -- what an import loads ----------------------------------------------------------------------------------


def test_importing_unbraid_loads_nothing_heavy():
    loaded = fresh("import sys, json, unbraid; print(json.dumps(sorted(sys.modules)))")
    assert not {name.split(".")[0] for name in loaded} & LATE


def test_encoding_loads_nothing_heavy(bundle_folder):
    loaded = fresh(
        "import sys, json, unbraid\n"
        "from PIL import Image\n"
        f"model = unbraid.load({str(bundle_folder)!r}, threads=1)\n"
        "base = model.encode(['cat', unbraid.Code('x'), Image.new('RGB', (2, 2))])\n"
        "model.map(base, 'query'); model.matrix('query')\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    assert not {name.split(".")[0] for name in loaded} & LATE


def test_the_public_names_exist():
    import unbraid

    assert all(hasattr(unbraid, name) for name in unbraid.__all__)
    assert sorted(unbraid.__all__) == unbraid.__all__
    assert unbraid.__version__ == project()["project"]["version"]
