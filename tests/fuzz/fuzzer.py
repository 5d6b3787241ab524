"""Builds the codec alone, with sanitizers, and fires mutated answers at it. See ci/fuzz.

python tests/fuzz/fuzzer.py run [--cases N | --seconds S] [--first N]
python tests/fuzz/fuzzer.py coverage [--cases N]
python tests/fuzz/fuzzer.py planted [--only NAME] [--seconds S]
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "fuzz"
PIECES = ("clock", "inbound", "http1")  # of the core, that the codec is made of
SIGN = re.compile(r"^AssertionError: |runtime error: |ERROR: AddressSanitizer|^case ")  # of something found
SECONDS = 20.0  # where nothing else is said
BATCH = 20_000  # cases between two looks at the clock
LEAST_COVERED = 0.95  # of the branches of the codec

SANITIZED = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
COVERED = ["-O0", "-g", "--coverage"]

WORDS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\n\t", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"1"),
    *(b"\x7f", b"\x80", b"\xff", b"\x0b", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 x\r\n\r\n"),
    *(b"HTTP/1.1 204 x\r\n", b"HTTP/1.1 304 x\r\n", b"HTTP/1.1 101 x\r\n", b"HTTP/", b"1.1", b" 200", b"000", b"099"),
    *(b"Content-Length: ", b"Content-Length: 2\r\n", b"Content-Length: 9223372036854775807\r\n", b"99999999999999999999"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: ", b"chunked", b"identity", b"gzip", b"Content-Encoding: gzip\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"close", b"keep-alive", b"Location: /a\r\n", b"Location: /b\r\n"),
    *(b"Set-Cookie: a=b\r\n", b"X: y\r\n", b"2\r\nhi\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"7fffffffffffffff\r\n"),
    *(b"8000000000000000", b"ffffffffffffffff", b"00000000000000000", b"f", b"F", b"g", b"hi", b"2", b"-", b"+", b"\x01"),
]  # fmt: skip


def seeds() -> list[bytes]:
    """Return the answers of the tests' table, the short ones many times: a long one takes as long as a thousand of them."""
    sys.path.insert(0, str(HERE.parent))
    from answers import ANSWERS

    short = [row.data for row in ANSWERS if len(row.data) < 2_000]
    return short * 500 + [row.data for row in ANSWERS if 2_000 <= len(row.data) < 400_000]


# Building.


def build(name: str, flags: Sequence[str], pieces: Path = ROOT / "gaggle" / "core") -> Path:
    """Compile the codec in `pieces` with `flags` into build/fuzz/`name`; return the module's file."""
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "gaggle" / "core").mkdir(parents=True)
    shutil.copy(HERE / "fuzzed.pyx", folder)
    for piece in PIECES:
        shutil.copy(pieces / f"{piece}.pxi", folder / "gaggle" / "core")
    directives = [
        "boundscheck=False",
        "wraparound=False",
        "cdivision=True",
        "initializedcheck=False",
        "emit_code_comments=False",
    ]
    cython = [sys.executable, "-m", "cython", "-I", ".", *(word for each in directives for word in ("-X", each))]
    subprocess.run([*cython, "fuzzed.pyx"], cwd=folder, check=True)
    module = folder / "fuzzed.so"
    compiler = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-I", sysconfig.get_path("include"), "-D_GNU_SOURCE"]
    subprocess.run([*compiler, "-Wno-unused-function", *flags, "fuzzed.c", "-o", module.name], cwd=folder, check=True)
    return module


def environment() -> dict[str, str]:
    """Return one in which a sanitized module can be loaded: Python is none, so the runtime has to come first."""
    libraries = [
        subprocess.run(
            [os.environ.get("CC", "cc"), f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        # detect_leaks: Python keeps much until it exits. The other two are for speed.
        "ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=1:quarantine_size_mb=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def load(module: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzzed", module)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# Firing.


def fire(module: Path, cases: int, seconds: float, first: int) -> int:
    """Try cases from `first` on until there were so many, or for so long. Returns how many there were."""
    fuzz: Any = load(module).fuzz
    answers, deadline, done = seeds(), time.monotonic() + seconds, 0
    while done < cases and time.monotonic() < deadline:
        size = min(BATCH, cases - done)
        fuzz(answers, WORDS, first + done, size)
        done += size
    return done


def started(module: Path, options: argparse.Namespace) -> subprocess.CompletedProcess[str]:
    """Fire in a process of its own, which a sanitizer may end."""
    words = [
        "fire",
        "--module",
        module,
        "--cases",
        options.cases,
        "--seconds",
        options.seconds,
        "--first",
        options.first,
    ]
    command = [sys.executable, __file__, *map(str, words)]
    env = environment() if "sanitized" in str(module) else None
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def run(options: argparse.Namespace) -> int:
    result = started(build("sanitized", SANITIZED), options)
    print(result.stdout + result.stderr, end="")
    return result.returncode


# How much of the codec was reached.


def branches(folder: Path) -> dict[str, list[int]]:
    """Return, for every function of the codec, how often each way of each branch was gone."""
    command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", "-o", ".", "fuzzed.so-fuzzed.gcda"]
    output = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    report = json.loads(gzip.decompress(output) if output.startswith(b"\x1f\x8b") else output)
    found: dict[str, list[int]] = {}
    for file in report["files"]:
        for line in file["lines"]:
            name = line.get("function_name", "").removeprefix("__pyx_f_6fuzzed_")
            if name.startswith(("http1_", "inbound_")):
                found.setdefault(name, []).extend(branch["count"] for branch in line["branches"])
    return found


def coverage(options: argparse.Namespace) -> int:
    result = started(build("covered", COVERED), options)
    print(result.stdout + result.stderr, end="")
    found = branches(BUILD / "covered")
    for name, counts in sorted(found.items()):
        if counts and not all(counts):
            print(f"{name}: {sum(map(bool, counts))} of {len(counts)} branches")
    counts = [count for each in found.values() for count in each]
    share = sum(map(bool, counts)) / len(counts)
    print(f"{sum(map(bool, counts))} of {len(counts)} branches of the codec were gone both ways: {share:.1%}")
    return result.returncode or share < LEAST_COVERED


# Whether it would find anything.


def planted(options: argparse.Namespace) -> int:
    patches = sorted((HERE / "planted").glob(f"{options.only}.patch"))
    missed = [patch.stem for patch in patches if not finds(patch, options)]
    for name in missed:
        print(f"{name} was not found")
    return 1 if missed or not patches else 0


def finds(patch: Path, options: argparse.Namespace) -> bool:
    """Whether the fuzzer finds the bug that `patch` puts in. Raises CalledProcessError when the patch does not fit."""
    folder = BUILD / "planted"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "gaggle" / "core", folder / "gaggle" / "core")
    subprocess.run(["git", "apply", f"--directory={folder.relative_to(ROOT)}", patch], cwd=ROOT, check=True)
    begun = time.monotonic()
    result = started(build(f"sanitized-{patch.stem}", SANITIZED, folder / "gaggle" / "core"), options)
    signs = [line for line in (result.stdout + result.stderr).splitlines() if SIGN.search(line)]
    print(f"{patch.stem}: {(signs or ['found nothing'])[0][:120]} ({time.monotonic() - begun:.0f} s with the build)")
    return result.returncode != 0 and bool(signs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "coverage", "planted", "fire"])
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="*", help="the name of one planted bug")
    parser.add_argument("--module", type=Path)
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = SECONDS if options.cases is None else math.inf
    if options.cases is None:
        options.cases = sys.maxsize
    if options.what == "fire":
        begun = time.process_time()
        done = fire(options.module, options.cases, options.seconds, options.first)
        print(f"{done:,} cases, {done / (time.process_time() - begun):,.0f} a second of CPU time, and nothing found")
        return 0
    return {"run": run, "coverage": coverage, "planted": planted}[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
