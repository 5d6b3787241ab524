"""What all tests share: the golden files, and `--golden`, which rewrites them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from processes import PATIENCE

GOLDEN = Path(__file__).parent / "golden"

settings.register_profile("gaggle", deadline=None)  # a machine with other work to do is no failure
settings.load_profile("gaggle")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="rewrite the golden files instead of comparing with them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what measures time where others have the machine as well."""
    skip = pytest.mark.skip(reason="judges times, and TEST_PATIENCE says that the machine is slow")
    for item in items if PATIENCE > 1 else ():
        if item.get_closest_marker("timed"):
            item.add_marker(skip)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return `golden(name, text)`: `text` is what tests/golden/`name` holds, or becomes it with --golden."""
    rewrites = request.config.getoption("--golden")

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if rewrites:
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"there is no golden file {name}: run pytest with --golden and review the diff"
        assert text == path.read_text(encoding="utf-8"), f"{name} differs: if it should, run pytest with --golden"

    return compare
