"""How the C core is built. Everything else about the package stands in pyproject.toml.

GAGGLE_DEBUG=1 builds a core that checks its indices, its references and its assertions; GAGGLE_SANITIZE=address adds
AddressSanitizer. Both are for `ci/debug-test`, which runs the tests on such a core. GAGGLE_OPTIMIZE=1 asks the compiler
for less than its 3: half the time to build, for who only wants to test. GAGGLE_NO_CORE=1 leaves out the core
and the HTML report's page: the Makefile installs the package so, and builds both in place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist


def asked(variable: str) -> bool:
    """Return whether the environment variable is set, and not to 0."""
    return os.environ.get(variable, "0") not in ("", "0")


DEBUG = asked("GAGGLE_DEBUG")
SANITIZE = os.environ.get("GAGGLE_SANITIZE", "")

# What gaggle/_core.pyx is made of: a change to any of these compiles it again.
PIECES = sorted(glob("gaggle/core/*.px[di]"))

# These mean the same code in both builds, with and without a net: what changes results (cdivision, wraparound) does not
# differ between them.
DIRECTIVES = {
    "language_level": 3,
    "cdivision": True,
    "wraparound": False,
    "boundscheck": DEBUG,
    "initializedcheck": DEBUG,
    "nonecheck": DEBUG,
    "auto_pickle": False,  # nothing of the core can be pickled, and the code that would say so is a seventh of it
    "autotestdict": False,
}
QUIET = "-Wno-unused-function"  # of what Cython always writes out
OPTIMIZE = os.environ.get("GAGGLE_OPTIMIZE", "3")
FAST_FLAGS = [f"-O{OPTIMIZE}", "-g0", "-DCYTHON_WITHOUT_ASSERTIONS=1", QUIET]
DEBUG_FLAGS = ["-O1", "-g", "-UNDEBUG", "-DGAGGLE_DEBUG=1", "-fno-omit-frame-pointer", QUIET]


def refuse_checks_turned_off_in(source: str) -> None:
    """Exit if the head of `source` turns off a check: Cython lets the head win, so a debug build would not check it."""
    head = [line for line in Path(source).read_text().splitlines() if line.startswith("# cython:")]
    off = [name for name, on in DIRECTIVES.items() if on is True and any(f"{name}=False" in line for line in head)]
    if off:
        raise SystemExit(f"{source} sets {', '.join(off)} to False: leave that to DIRECTIVES in setup.py")


def core() -> Extension:
    """Return the one extension module, with the flags that the environment asks for."""
    source = "gaggle/_core.pyx"
    refuse_checks_turned_off_in(source)
    sanitizer = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
    extension = Extension(
        "gaggle._core",
        [source],
        depends=PIECES,
        libraries=["z"],
        define_macros=[("_GNU_SOURCE", "1")],
        extra_compile_args=(DEBUG_FLAGS if DEBUG else FAST_FLAGS) + sanitizer,
        extra_link_args=sanitizer,
    )
    extension.cython_directives = DIRECTIVES
    extension.cython_line_directives = DEBUG  # a sanitizer's report names the piece and its line
    extension.cython_c_in_temp = True  # no generated C among the sources, so none in the wheel
    return extension


def build_page() -> None:
    """Build the HTML report's page, where that was not done: a source distribution has it."""
    if not asked("GAGGLE_NO_CORE") and not Path("gaggle/report/assets/report.js").exists():
        subprocess.run([sys.executable, "web/build.py"], check=True)


class BuildWithPage(build_py):
    def run(self) -> None:
        build_page()
        super().run()


class SdistWithPage(sdist):
    def run(self) -> None:
        build_page()
        super().run()


setup(
    cmdclass={"build_py": BuildWithPage, "sdist": SdistWithPage},
    ext_modules=[] if asked("GAGGLE_NO_CORE") else [core()],
)
