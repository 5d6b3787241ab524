"""The codec of answers, built alone with sanitizers, holds against mutated answers; and the fuzzer would find a bug."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).with_name("fuzzer.py")
BUGS = sorted(path.stem for path in FUZZER.with_name("planted").glob("*.patch"))


def has_sanitizers() -> bool:
    """Return whether the compiler has the two runtimes: it prints a path for what it finds, else the name alone."""
    commands = [["cc", f"-print-file-name={name}"] for name in ("libasan.so", "libubsan.so")]
    if not (shutil.which("cc") and shutil.which("gcov")):
        return False
    return all("/" in subprocess.run(command, capture_output=True, text=True).stdout for command in commands)


pytestmark = pytest.mark.skipif(not has_sanitizers(), reason="the compiler has no sanitizers: apt-get install gcc")


def fuzzer(*words: str) -> str:
    """Run the fuzzer and return what it printed; it must end with 0."""
    result = subprocess.run([sys.executable, FUZZER, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_no_mutated_answer_upsets_the_codec() -> None:
    assert "nothing found" in fuzzer("run", "--seconds", "15")


@pytest.mark.slow
def test_the_fuzzer_goes_nearly_every_way_through_the_codec() -> None:
    print(fuzzer("coverage", "--cases", "100000"))


@pytest.mark.soak
def test_ten_million_mutated_answers_do_not_upset_the_codec() -> None:
    assert "10,000,000 cases" in fuzzer("run", "--cases", "10000000", "--seconds", "7200")


@pytest.mark.soak
@pytest.mark.parametrize("bug", BUGS)
def test_the_fuzzer_finds_a_planted_bug(bug: str) -> None:
    fuzzer("planted", "--only", bug)
