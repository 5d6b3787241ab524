"""The state diagram in docs/gaggle.md is what the tables of protocol.py say: `pytest --golden` draws it anew."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from gaggle.protocol import FROM_MANAGER, FROM_WORKER, Message

PAGE = Path(__file__).parents[2] / "docs" / "gaggle.md"
MARK = "<!-- states: made by tests/unit/test_diagram.py --golden -->\n"

Table = dict[str, dict[type[Message], str]]


def drawn(heading: str, table: Table) -> str:
    """Return a table as a Mermaid diagram: an arrow for each way from one state to another or to itself."""
    lines = [f"{heading}\n\n```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(table))}"]
    for state, row in table.items():
        ways: dict[str, list[str]] = defaultdict(list)
        for kind, after in row.items():
            ways[after].append(kind.__name__)
        lines += [f"    {state} --> {after}: {', '.join(sorted(kinds))}" for after, kinds in ways.items()]
        lines += [] if row else [f"    {state} --> [*]"]
    return "\n".join([*lines, "```\n"])


def test_the_diagram_in_the_docs_is_that_of_the_tables(request: pytest.FixtureRequest) -> None:
    diagrams = [
        drawn("What a worker says, by the state in which the manager has it:", FROM_WORKER),
        drawn("What the manager says, by the worker's own state:", FROM_MANAGER),
    ]
    before, mark, text = PAGE.read_text().partition(MARK)

    if request.config.getoption("--golden"):
        text = "\n" + "\n".join(diagrams)
        PAGE.write_text(before + mark + text)

    assert text == "\n" + "\n".join(diagrams), "docs/gaggle.md has another diagram: run pytest with --golden"
