"""The help as it is printed."""

from __future__ import annotations

import pytest

from gaggle.options import SPECS, flag
from gaggle.usage import help_text


def test_the_help_is_the_golden_one(golden):
    golden("help.txt", help_text())


def test_the_help_fits_80_columns():
    assert max(map(len, help_text().splitlines())) <= 80


@pytest.mark.parametrize("name", SPECS)
def test_the_help_names_every_option(name):
    assert flag(name) in help_text()
