"""One user, once: `gaggle FILE --once` and `gaggle.run_user(MyUser)`, from the options to what came of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gaggle.choice import choose, chosen
from gaggle.engine import give_own
from gaggle.errors import InvalidOption, LoadTestError
from gaggle.loadtest import MODULE_NAME, UserClass, load, marked, own_class, user_class
from gaggle.logs import LOGGER
from gaggle.options import Options, usable_cores
from gaggle.own import MARK as OWN_MARK
from gaggle.own import defaults_of, made, specs_of
from gaggle.policy import settings_of
from gaggle.rules import check, check_required, load_test_of
from gaggle.sources import Parsed, from_call, settled
from gaggle.trace import Trace, summary
from gaggle.user import User
from gaggle.visit import Itinerary, Visit, visit


def run_user(cls: type[User], *, raises: bool = False, **options: Any) -> Visit:
    """Run each task of a user class once, in order, in this process, and return the Visit.

    For a plain script, a debugger or a pytest test: `on_start` comes first, `on_stop` last, and what the class's module
    marks with `@test_start`, `@test_stop` and `@on_request` is heeded. There are no waits. `options` are those of the
    command line that say how requests are made: `host="http://127.0.0.1:8080"`, `timeout="5s"`.
    With `raises` a failed request or task raises LoadTestError. Raises InvalidOption for options that cannot be.
    """
    if MODULE_NAME in sys.modules:
        raise LoadTestError('run_user() is called by a load test that runs: put it under `if __name__ == "__main__":`')
    if not (inspect.isclass(cls) and issubclass(cls, User)):
        raise LoadTestError(f"run_user() takes a class that derives from gaggle.User, got {cls!r}")
    module = sys.modules[cls.__module__]
    own = own_class(module)
    described = getattr(own, OWN_MARK, [])
    parsed = from_call(Path(getattr(module, "__file__", None) or "."), options)
    parsed = settled(parsed, specs_of(described), defaults_of(described), {})
    check(parsed, usable_cores())
    check_required(parsed)
    if own is not None:
        cls.own = made(own, parsed.own)
    values = vars(module).values()
    around = [
        tuple(each for each in values if marked(each, kind)) for kind in ("test_start", "test_stop", "on_request")
    ]
    found = visit(
        itinerary(user_class(cls), parsed.options, *around), settings_of(parsed.options), parsed.options.seed or 0
    )
    return found.raise_for_failures() if raises else found


def run_once(parsed: Parsed, say: Callable[[str], None]) -> bool:
    """Run a user of the load test once, and `say` all about it; return whether all went well. Raises GaggleError."""
    file = load_test_of(parsed)
    check(parsed, usable_cores())
    load_test = load(str(file))
    described = load_test.describe()
    own = described["own"]
    parsed = settled(parsed, specs_of(own), defaults_of(own), load_test.defaults)
    for line in (*parsed.warnings, *check(parsed, usable_cores())):
        LOGGER.warning("%s", line)
    check_required(parsed)
    give_own(load_test, dict(parsed.own))
    kept = choose(described["classes"], parsed.options, dict(parsed.sources))
    item, settings = first(load_test.chosen(chosen(kept)), say), settings_of(parsed.options)
    way = itinerary(item, parsed.options, load_test.test_starts, load_test.test_stops, load_test.hooks)
    found = visit(way, settings, parsed.options.seed or 0, Trace(say, settings))
    say(summary(found))
    return found.ok


def first(classes: Sequence[UserClass], say: Callable[[str], None]) -> UserClass:
    """Return the user class whose user is run: the first of those that take part."""
    if others := len(classes) - 1:
        say(f"{classes[0].name} is the first of {1 + others} user classes: name another behind the load test.\n")
    return classes[0]


def itinerary(
    item: UserClass, options: Options, starts: Sequence[Any], stops: Sequence[Any], hooks: Sequence[Any]
) -> Itinerary:
    """Return what a user of the class does. Raises InvalidOption when it has nowhere to go."""
    if item.cls.default_host is None and not options.host:
        wants = "A host must be defined via the --host option, or as `host` of the user class"
        raise InvalidOption("--host", "", f"{wants} (no host defined for {item.name}).")
    return Itinerary(item, tuple(starts), tuple(stops), tuple(hooks))
