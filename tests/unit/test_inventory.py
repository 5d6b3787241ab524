"""The options as a config file: --show-config, --generate-config."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from gaggle.inventory import built_in, configurable, generated, key, shown
from gaggle.options import SPECS, Options, Role
from gaggle.sources import parse, settled


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def asked(argv):
    return settled(parse(argv, {}), {}, {}, {})


def test_a_generated_file_says_nothing_until_it_is_edited():
    text = generated(SPECS, built_in())

    assert tomllib.loads(text) == {}
    assert max(map(len, text.splitlines())) <= 80


def test_a_generated_file_gives_the_defaults_when_its_lines_are_put_in_force(tmp_path):
    names = [name for name in configurable(SPECS) if built_in()[name] is not None]
    lines = [line[1:] for line in generated(SPECS, built_in()).splitlines() if re.match(r"#[a-z]", line)]
    kept = [line for line in lines if line.partition(" =")[0] in map(key, names)]
    (tmp_path / "gaggle.toml").write_text("\n".join(kept))

    parsed = asked([])

    assert parsed.options == Options()
    assert set(parsed.sources) == set(names)


def test_what_is_shown_is_read_back_as_the_same(tmp_path):
    argv = [
        "-u8", "-r0.0000001", "-t90", "--timeout=1.2345", "--max-body=1537", "--log-file=\x7f\"\\\n\t é", "-vv",
        "--report-file=a.txt", "--report-file=b.json", "--strict", "--tls-resume=no", "--seed=3",
    ]  # fmt: skip
    parsed = asked(argv)

    (tmp_path / "gaggle.toml").write_text(shown(parsed, Role.STANDALONE))

    assert asked([]).options == parsed.options


def test_a_password_is_not_shown():
    text = shown(asked(["--proxy=http://me:hunter2@10.0.0.1:3128"]), Role.STANDALONE)

    assert 'proxy = "http://me:***@10.0.0.1:3128"' in text
    assert "hunter2" not in text


def test_a_worker_is_shown_only_what_it_takes():
    text = shown(asked(["--worker"]), Role.WORKER)

    assert "manager-port = 5115" in text
    assert "users" not in text


def test_the_page_of_options_is_as_make_docs_writes_it():
    root = Path(__file__).parents[2]

    page = runpy.run_path(str(root / "ci" / "docs"))["page"]()

    assert (root / "docs" / "options.md").read_text() == page, "run: make docs"
