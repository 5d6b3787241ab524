"""The two pages for who comes from another load tester: each option that they name exists, and none is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gaggle.options import SPECS, flag

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("from-goose.md", "from-locust.md")
OURS = {long for name, of in SPECS.items() for long in (flag(name), *of.aliases)}
SHORT = {of.short for of in SPECS.values() if of.short}

# Every option of Goose up to its HEAD, and of its last version with a gaggle.
GOOSE = """
    --help --version --list --host --users --hatch-rate --increase-rate --startup-time --increase-time --decrease-rate
    --decrease-time --run-time --goose-log --log-level --quiet --verbose --running-metrics --no-reset-metrics
    --no-metrics --no-transaction-metrics --no-task-metrics --no-scenario-metrics --no-print-metrics --no-error-summary
    --report-file --no-granular-report --request-log --request-format --request-body --transaction-log
    --transaction-format --scenario-log --scenario-format --error-log --error-format --debug-log --debug-format
    --no-debug-body --no-status-codes --test-plan --iterations --scenarios --scenarios-list --no-telnet --no-websocket
    --telnet-host --telnet-port --websocket-host --websocket-port --no-autostart --no-gzip --timeout --co-mitigation
    --throttle-requests --sticky-follow --accept-invalid-certs --manager --expect-workers --no-hash-check
    --manager-bind-host --manager-bind-port --worker --manager-host --manager-port --baseline-file --pdf-print-html
    --pdf-scale --pdf-timeout --only-summary --status-codes --metrics-file --metrics-format --log-file --debug-file
"""
LOCUST = """
    --locustfile --host --users --spawn-rate --run-time --list --headless --autostart --autoquit --web-host --web-port
    --web-login --tls-cert --tls-key --class-picker --web-base-path --master --worker --master-host --master-port
    --master-bind-host --master-bind-port --expect-workers --expect-workers-max-wait --enable-rebalancing --processes
    --tags --exclude-tags --csv --csv-full-history --html --json --json-file --print-stats --only-summary --reset-stats
    --loglevel --logfile --exit-code-on-error --stop-timeout --equal-weights --profile --otel --config --config-users
"""


def rows(page: str) -> list[list[str]]:
    """Return the cells of all tables of a page, without headers."""
    lines = (DOCS / page).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return [row for row in cells if row[0] not in ("Goose", "Locust")]


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


@pytest.mark.parametrize("page", PAGES)
def test_what_is_said_to_be_the_same_is(page: str) -> None:
    same = [row[0] for row in rows(page) if row[1].startswith("the same")]

    assert {option for cell in same for option in options_in(cell)} <= OURS
    assert set(re.findall(r"`(-\w)`", " ".join(same))) <= SHORT


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_is_to_be_used_instead_exists(page: str) -> None:
    text = (DOCS / page).read_text()
    theirs = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    for cell in theirs:
        text = text.replace(cell, "", 1)

    assert options_in(text) <= OURS


@pytest.mark.parametrize(("page", "listed"), [("from-goose.md", GOOSE), ("from-locust.md", LOCUST)])
def test_every_option_of_the_other_tool_has_a_row(page: str, listed: str) -> None:
    named = {option for row in rows(page) for option in options_in(row[0])}

    assert set(listed.split()) <= named
