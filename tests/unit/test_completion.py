"""Completion: what a shell offers."""

from __future__ import annotations

import subprocess

import pytest

from gaggle.completion import SHELLS, script
from gaggle.options import SPECS, flag

OFFERED = [
    (["gaggle", "--run-t"], ["--run-time"]),
    (["gaggle", "--lane", "f"], ["fast"]),
    (["gaggle", "--lane", "=", "f"], ["fast"]),  # as bash cuts --lane=f
    (["gaggle", "--tls-resume", "="], ["yes", "no"]),
    (["gaggle", "lo"], ["loadtest.py"]),
    (["gaggle", "--cacert", "ca"], ["ca.pem"]),
    (["gaggle", "--users", ""], []),
]


@pytest.mark.parametrize(("words", "offered"), OFFERED)
def test_bash_offers_flags_values_and_load_tests(tmp_path, words, offered):
    for name in ("loadtest.py", "log.txt", "ca.pem"):
        (tmp_path / name).touch()
    (tmp_path / "gaggle.bash").write_text(script("bash", SPECS))
    ask = 'source ./gaggle.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gaggle; printf "%s\\n" "${COMPREPLY[@]}"'

    ended = subprocess.run(
        ["bash", "-c", ask, "bash", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert (ended.stdout.split(), ended.stderr) == (offered, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_is_in_every_script(shell):
    text = script(shell, SPECS)

    assert [name for name in SPECS if flag(name).removeprefix("--") not in text] == []
