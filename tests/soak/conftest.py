"""The fixtures of the system tests, for tests that do the same for longer."""

from __future__ import annotations

from system.conftest import load_test, run_gaggle, start_gaggle

__all__ = ["load_test", "run_gaggle", "start_gaggle"]
