"""Which module may import which: imports point one way, from the lower rows of LAYERS to the rows above them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "gaggle"

# A module may import what stands in a row above its own, and nothing else of the package. A module of several files
# (report/) is one name here, and its files may import each other.
LAYERS = (
    {"errors", "units", "boot", "meters", "foreign", "_core"},
    {"thresholds"},
    {"options", "configfile", "plan", "channel", "metrics", "user", "limits", "joining", "parcel"},
    {"counts", "packing", "commandline", "completion", "own", "terms", "news"},
    {"grid"},
    {"series"},
    {"needs", "sources", "usage", "loadtest", "recorder", "report", "logs", "transport", "protocol", "records", "curl"},
    {"choice", "hosts", "holding", "judge", "rules", "inventory", "life", "policy", "worker", "manager", "comparing"},
    {"engine", "fetcher", "reporting", "telemetry"},
    {"launcher", "crew", "visit"},
    {"books", "hearsay", "ledger", "statefile", "trace"},
    {"standing", "keeping"},
    {"supervisor"},
    {"resuming"},
    {"managing", "working", "controller"},
    {"session", "once", "live"},
    {"cli"},
    {"__init__", "__main__"},
)
ROW = {name: row for row, names in enumerate(LAYERS) for name in names}

MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = sorted([*PACKAGE.glob("_core.py[xi]"), *PACKAGE.glob("core/*.px[di]")])

# The launcher forks, so it loads nothing that starts threads. Loading it loads the package's __init__ too.
LAUNCHER = ("__init__", "launcher")
STARTS_THREADS = {"numpy", "zmq"}


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def module_of(path: Path) -> str:
    """Return the name under which LAYERS knows the file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


NAMES = {"_core", *map(module_of, MODULES)}


def source_of(path: Path, node: ast.ImportFrom) -> str:
    """Return the absolute name of what follows `from`, such as "gaggle.errors"."""
    if not node.level:
        return node.module or ""
    here = ("gaggle", *path.relative_to(PACKAGE).parts[:-1])
    return ".".join((*here[: len(here) - node.level + 1], *filter(None, [node.module])))


def imported(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the absolute names of the modules that the nodes import. "gaggle" is the package's __init__.

    `from gaggle import units` imports gaggle.units; `from gaggle import User` takes a name out of __init__.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (source := source_of(path, node)) != "gaggle":
            yield source
        elif isinstance(node, ast.ImportFrom):
            yield from (f"gaggle.{alias.name}" if alias.name in NAMES else "gaggle" for alias in node.names)


def of_the_package(names: Iterable[str]) -> list[str]:
    """Return the names that LAYERS knows: "gaggle.report.text" is "report", "gaggle" itself is "__init__"."""
    return [[*name.split("."), "__init__"][1] for name in names if name.split(".")[0] == "gaggle"]


def everywhere(path: Path) -> Iterator[ast.AST]:
    """Yield all nodes of the file: an import in a function counts as well."""
    return ast.walk(ast.parse(path.read_text(), str(path)))


def when_loaded(path: Path) -> Iterator[ast.AST]:
    """Yield the nodes that run when the file is imported: not those of functions, nor those for the type checker."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def ways_from(start: Iterable[str]) -> dict[str, str]:
    """Return everything that is loaded with the modules of `start`, and by which way: {"zmq": "cli > worker > zmq"}."""
    ways: dict[str, str] = {}
    waiting = [(name, name) for name in start]
    while waiting:
        name, way = waiting.pop()
        if name in ways:
            continue
        ways[name] = way
        names = [n for path in MODULES if module_of(path) == name for n in imported(path, when_loaded(path))]
        others = {n.split(".")[0] for n in names} - {"gaggle"}
        waiting += [(other, f"{way} > {other}") for other in (*of_the_package(names), *others)]
    return ways


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_has_a_row(path: Path) -> None:
    assert module_of(path) in ROW, f"{relative(path)}: say in LAYERS what it may import, by giving it a row"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_up(path: Path) -> None:
    here = module_of(path)
    above = {name for name, row in ROW.items() if row < ROW.get(here, len(LAYERS))}

    wrong = set(of_the_package(imported(path, everywhere(path)))) - above - {here}

    assert not wrong, f"{relative(path)} must not import {wrong}: see LAYERS"


@pytest.mark.parametrize("path", CORE, ids=relative)
def test_the_core_imports_errors_only(path: Path) -> None:
    names = re.findall(r"^\s*(?:from|c?import)\s+(gaggle[\w.]*)", path.read_text(), re.MULTILINE)

    wrong = [name for name in names if name != "gaggle.errors" and not name.startswith("gaggle.core.")]

    assert not wrong, f"{relative(path)} must not import {wrong}: the core stands in the first row"


def test_the_launcher_loads_nothing_that_starts_threads() -> None:
    wrong = [way for name, way in ways_from(LAUNCHER).items() if name in STARTS_THREADS]

    assert not wrong, "the launcher forks, and must not load what starts threads"


@pytest.mark.parametrize("path", [path for path in MODULES if module_of(path) != "transport"], ids=relative)
def test_only_the_transport_knows_zeromq(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(path, everywhere(path))}

    assert "zmq" not in names, f"{relative(path)}: what is said is protocol's, how it travels transport's"


# What takes a while to load is loaded by who needs it; and the gaggle's own packages may not be there.
LATE = ("numpy", "rich", "jinja2", "prometheus_client", "opentelemetry", "zmq")


def test_the_command_loads_nothing_that_it_may_not_need():
    program = f"import sys, gaggle.cli; print(*(name for name in {LATE!r} if name in sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
