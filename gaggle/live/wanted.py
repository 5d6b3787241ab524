"""Whether there is a screen to draw on; apart from the rest, which takes a while to load."""

from __future__ import annotations

import os
import sys

from gaggle.options import Options


def has_screen(options: Options) -> bool:
    """Whether somebody looks on: stdout and stderr are terminals that can move their cursors, and nobody minds."""
    is_wanted = not (options.no_live or options.no_metrics or options.worker or options.quiet)
    can_draw = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")
    return is_wanted and can_draw
