"""The layout and who may import whom (docs/decisions.md), held by reading the source."""

import ast
import graphlib
import json
import os
import pydoc
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "unbraid"
# Folders at the top level that are mapped into the package: how encoders are made. Links in src/unbraid show them to
# type checkers and editors.
MAPPED = ("base_encoders", "distill", "export", "mappers", "teacher")
FACE = "face"  # stands for the modules that lie in src/unbraid itself

# Room -> rooms whose modules it may import, at any time; all may import FACE. The command line may import everything.
ALLOWED = {
    FACE: {"runtime", "custom_mapper", "io", "index", "multi_vector"},
    "io": set(),
    "multi_vector": set(),
    "runtime": {"io", "multi_vector"},
    "custom_mapper": {"io", "index", "runtime"},
    "training": {"io"},
    "index": {"io", "multi_vector", "runtime"},
    "evaluation": {"index", "multi_vector", "runtime", "training", "io"},
    "serve": {"index", "teacher", "runtime", "io"},
    "mcp": {"index", "io"},
    "integrations": {"index", "custom_mapper", "runtime"},
    "cluster": {"teacher", "custom_mapper", "io", "runtime"},
    "base_encoders": {"runtime", "training", "io"},
    "mappers": set(),
    "teacher": {"runtime", "training", "evaluation", "io"},
    "distill": {
        "teacher",
        "training",
        "base_encoders",
        "mappers",
        "evaluation",
        "runtime",
        "io",
        "custom_mapper",
    },
    "adopt": {
        "export",
        "base_encoders",
        "mappers",
        "teacher",
        "training",
        "index",
        "custom_mapper",
        "runtime",
        "io",
        "distill",  # drawings, the pictures that every machine has
    },
    "export": {"base_encoders", "mappers", "runtime", "io"},
    "stock_modules": {"export", "teacher", "training", "runtime", "io"},
}
# Shelf of the index -> shelves it may import.
INDEX_SHELVES = {
    "files": set(),
    "store": {"files"},
    "search": {"store", "files"},
    "transfer": {"store", "search", "files"},
}
HEAVY = {"torch", "torchvision", "transformers", "timm", "open_clip", "sentence_transformers"}
LATE = HEAVY | {
    *(
        "starlette",
        "mcp",
        "pydantic",
        "qdrant_edge",
        "huggingface_hub",
        "pyarrow",
        "onnx",
        "scipy",
        "matplotlib",
        "rich",
    ),
    *(
        "tree_sitter",
        "pypdfium2",
        "rapidocr",
        "ray",
        "qdrant_client",
        "watchfiles",
        "uvicorn",
        "orjson",
        "prometheus_client",
    ),
    *("langchain_core", "llama_index", "haystack", "chromadb", "lancedb", "fastembed", "llm"),
}


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of everything under one import name."""
    found = {}
    for folder, prefix in [(SRC, "unbraid"), *((ROOT / name, f"unbraid.{name}") for name in MAPPED)]:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if folder == SRC and parts[0] in MAPPED:  # a link
                continue
            found[".".join([prefix, *parts]).removesuffix(".__init__")] = path
    return found


def room_of(module: str) -> str:
    """The room that a dotted name lies in: the folder below `unbraid`, FACE for what lies in it directly."""
    parts = module.split(".")
    is_room = len(parts) > 2 or (modules().get(module) or Path()).name == "__init__.py"
    return parts[1] if len(parts) > 1 and is_room else FACE


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
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(child, top=False)
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


def test_every_room_has_its_rule():
    assert {room_of(module) for module in modules()} == {*ALLOWED, "cli"}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room):
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if room_of(module) == room and module != "unbraid.__main__"
        for target, _ in imports(module)
        if target.split(".")[0] == "unbraid" and room_of(target) not in ALLOWED[room] | {room, FACE}
    ]
    assert wrong == []


@pytest.mark.parametrize("shelf", INDEX_SHELVES)
def test_a_shelf_of_the_index_imports_only_what_it_may(shelf):
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if module.startswith(f"unbraid.index.{shelf}.")
        for target, _ in imports(module)
        if (parts := target.split("."))[:2] == ["unbraid", "index"]
        and len(parts) > 3
        and parts[2] not in INDEX_SHELVES[shelf] | {shelf}
    ]
    assert wrong == []


def test_the_command_line_imports_rooms_inside_its_functions_only():
    allowed = {FACE, "cli", "runtime", "custom_mapper", "io", "evaluation"}
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if room_of(module) == "cli"
        for target, top in imports(module)
        if top and target.split(".")[0] == "unbraid" and room_of(target) not in allowed
    ]
    assert wrong == []


def test_nothing_imports_the_command_line_but_its_entry():
    users = {
        module
        for module in modules()
        for target, _ in imports(module)
        if room_of(target) == "cli" and room_of(module) != "cli" and target.startswith("unbraid")
    }
    assert users <= {"unbraid.__main__"}


def test_what_users_run_imports_no_room_of_its_makers():
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if room_of(module) in {FACE, "io", "runtime", "custom_mapper", "index"}
        for target, _ in imports(module)
        if room_of(target) in MAPPED
    ]
    assert wrong == []


def test_what_users_run_imports_no_heavy_library_at_module_level():
    light = {FACE, "io", "runtime", "custom_mapper", "cli"}
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if room_of(module) in light
        for target, top in imports(module)
        if top and target.split(".")[0] in LATE
    ]
    assert wrong == []


def test_what_works_on_vectors_or_pictures_imports_no_model_library_at_module_level():
    wrong = [
        f"{module} imports {target}"
        for module in modules()
        if room_of(module) in {"index", "evaluation"} or module.startswith("unbraid.distill.drawings")
        for target, top in imports(module)
        if top and target.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_importing_the_index_loads_nothing_of_an_extra():
    loaded = fresh("import sys, json, unbraid.index; print(json.dumps(sorted(sys.modules)))")
    assert not [
        name
        for name in loaded
        if name.startswith(("tree_sitter", "pypdfium2", "rapidocr", "qdrant_client", "pyarrow", "ray"))
    ]


def test_onnxruntime_is_told_to_report_nothing_before_it_is_loaded(tmp_path):
    """It would leave a device id in the home folder, and send what it runs to its makers."""
    code = "import os, json, unbraid; unbraid.load().encode(['a']); print(json.dumps(os.environ['ORT_DISABLE_TELEMETRY']))"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert fresh(code, environment) == "1"
    assert list(tmp_path.iterdir()) == []


def test_no_mapped_folder_is_imported_by_its_bare_name():  # it would be a second copy of every class
    bare = [
        f"{module} imports {target}"
        for module in modules()
        for target, _ in imports(module)
        if target.split(".")[0] in MAPPED
    ]
    assert bare == []


def test_imports_form_no_cycle():
    graph = {
        module: {target for target, top in imports(module) if top and target in modules()} - {module}
        for module in modules()
    }
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which shows the cycle


# -- the map of the package, written down once in pyproject.toml -------------------------------------------


def test_pyproject_lists_every_package():
    packages = project()["tool"]["setuptools"]["packages"]
    on_disk = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert sorted(packages) == sorted(on_disk)


def test_pyproject_maps_the_folders_at_the_top_level():
    mapped = project()["tool"]["setuptools"]["package-dir"]
    assert mapped == {"unbraid": "src/unbraid"} | {f"unbraid.{name}": name for name in MAPPED}
    assert sorted(path.parent.name for path in ROOT.glob("*/__init__.py")) == sorted(MAPPED)


def test_bare_imports_of_mapped_folders_are_banned():
    banned = project()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert sorted(banned) == sorted(MAPPED)


@pytest.mark.parametrize("name", MAPPED)
def test_type_checkers_see_a_mapped_folder_through_a_link(name):
    link = SRC / name
    if not link.is_symlink():  # checked out as a text file, where links are not available
        assert link.read_text().strip() == f"../../{name}"
    else:
        assert link.resolve() == ROOT / name


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


def test_what_integrations_share_loads_no_framework_and_no_store():
    code = "import sys, json, unbraid.integrations.side_encoder, unbraid.integrations.hits; print(json.dumps(sorted(sys.modules)))"
    assert not {name.split(".")[0] for name in fresh(code)} & LATE


def test_the_public_names_exist():
    import unbraid

    assert all(hasattr(unbraid, name) for name in unbraid.__all__)
    assert sorted(unbraid.__all__) == unbraid.__all__
    assert len(pydoc.plaintext.document(unbraid).splitlines()) < 400
    assert unbraid.__version__ == project()["project"]["version"]
