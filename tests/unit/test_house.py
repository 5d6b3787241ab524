"""The house rules that a machine can check: names of files, what they must not mention, what CI runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "gaggle"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

SOURCES = sorted(path for suffix in ("py", "pyx", "pxi", "pxd") for path in PACKAGE.rglob(f"*.{suffix}"))
MODULES = [path for path in SOURCES if path.suffix == ".py"]
PIECES = [path for path in SOURCES if path.suffix in (".pxi", ".pxd") and path.stat().st_size]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
SCRIPTS = sorted(path for path in [ROOT / ".ci/run", *ROOT.glob("ci/*")] if path.read_bytes().startswith(b"#!"))

# Names that say nothing about what is in a file.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "misc"}

# What only makes sense on the machine where it was written. Put together here, or this file would be the first find.
NEEDLES = [
    "/".join(("", "work", "")),
    "/".join(("", "farm", "")),
    "/".join(("..", "shared")),
    ".".join(("", "library")),
    *(".".join(host) for host in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("registry", "npmjs"),
        ("deb", "debian", "org"),
    )),
]  # fmt: skip


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    """Return the files that git has or would take. Skips the test where the tree is no git checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_two_files_share_a_stem() -> None:
    stems = Counter(path.stem for path in SOURCES if path.stem != "__init__")

    assert not [stem for stem, count in stems.items() if count > 1]


def test_no_file_has_an_empty_name() -> None:
    assert not [relative(path) for path in tracked() if path.stem in EMPTY_NAMES]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", PIECES, ids=relative)
def test_a_piece_of_the_core_says_what_it_is(path: Path) -> None:
    """In a comment: an included file has no docstring of its own."""
    assert path.read_text().startswith("# ")


def test_nothing_names_the_machine_it_was_written_on() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace").lower()
        found += [f"{relative(path)}: {needle}" for needle in NEEDLES if needle in text]

    assert not found


def test_the_wheel_takes_every_file_that_is_not_source() -> None:
    """A template or style sheet that package-data forgets works from the tree and is missing for everyone else."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    patterns = [f"{package.replace('.', '/')}/{name}" for package, names in data.items() for name in names]
    files = [relative(path) for path in tracked() if PACKAGE in path.parents and path not in SOURCES]

    assert not [name for name in files if not any(fnmatch(name, pattern) for pattern in patterns)]


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_a_script_can_be_run(path: Path) -> None:
    assert os.access(path, os.X_OK)
    if "bash" in path.read_text().splitlines()[0]:
        subprocess.run(["bash", "-n", path], check=True)
    else:
        ast.parse(path.read_text())


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "Makefile", *SCRIPTS], ids=relative)
def test_every_script_that_is_called_exists(path: Path) -> None:
    called = set(re.findall(r"(?<![\w/.])\.?ci/[\w-]+", path.read_text()))

    assert not [name for name in called if not (ROOT / name).exists()]


def test_ci_runs_the_pythons_that_the_package_claims() -> None:
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/test.yml").read_text())
    built = PROJECT["tool"]["cibuildwheel"]["build"]

    assert matrix is not None
    assert re.findall(r"3\.\d+", matrix[1]) == claimed
    assert built == [f"cp{version.replace('.', '')}-*" for version in claimed]
    assert PROJECT["project"]["requires-python"] == f">={claimed[0]}"


def test_the_lock_file_pins_by_hash_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    packages = re.findall(r"^[a-z0-9][\w.-]*==.*\\\n    --hash=sha256:", lock, re.MULTILINE)

    assert len(packages) == len(re.findall(r"^[a-z0-9]", lock, re.MULTILINE)) > 0
    assert "://" not in lock
    assert "index-url" not in lock


def test_news_is_named_so_that_a_release_can_sort_it() -> None:
    fragments = [path.name for path in (ROOT / "news").iterdir() if path.name != "README.md"]

    pattern = r"(\d+|\+[a-z0-9-]+)\.(added|changed|fixed|removed|security)\.md"

    assert not [name for name in fragments if not re.fullmatch(pattern, name)]
