"""Which user classes and tasks of a load test take part: what --classes, --tags and --exclude-tags choose.

Works on the description that loadtest.py gives of a load test, on any machine the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gaggle import units
from gaggle.errors import InvalidOption
from gaggle.loadtest import Chosen
from gaggle.options import Options, flag

Description = dict[str, Any]


def choose(classes: Sequence[Description], options: Options, sources: dict[str, str]) -> list[Description]:
    """Return the descriptions of the user classes that take part, with only the tasks that do.

    Raises InvalidOption for what names nothing, and when nothing is left.
    """
    kept = _named(classes, options.classes, sources)
    _check_tags(kept, options, sources)
    found = [_with_tasks(item, options) for item in kept]
    left = [item for item in found if item["tasks"]]
    if not left:
        name = "tags" if options.tags else "exclude_tags"
        _refuse(name, ",".join(getattr(options, name)), sources, "leaves no task to run")
    return left


def chosen(classes: Iterable[Description]) -> Chosen:
    """Return what an engine must know of a choice."""
    return {item["name"]: item["kept"] for item in classes}


def _named(classes: Sequence[Description], patterns: Sequence[str], sources: dict[str, str]) -> list[Description]:
    """Return the classes that a pattern names, all when there is none; in any case, as in Goose."""
    wanted = [_matcher(pattern) for pattern in patterns]
    for pattern, matches in zip(patterns, wanted, strict=True):
        if not any(matches(item["name"]) for item in classes):
            there_are = ", ".join(item["name"] for item in classes)
            _refuse("classes", pattern, sources, f"names no user class of the load test, which has {there_are}")
    return [item for item in classes if not wanted or any(matches(item["name"]) for matches in wanted)]


def _matcher(pattern: str) -> Callable[[str], bool]:
    found = units.wildcard(pattern, re.IGNORECASE)
    return lambda name: found.fullmatch(name) is not None


def _check_tags(classes: Iterable[Description], options: Options, sources: dict[str, str]) -> None:
    """Refuse a tag that no task has: it is a typing error, and would choose all or nothing."""
    there_are = sorted({tag for item in classes for _, _, tags in item["tasks"] for tag in tags})
    for name in ("tags", "exclude_tags"):
        for tag in getattr(options, name):
            if tag not in there_are:
                which = f"the tags are {', '.join(there_are)}" if there_are else "none has a tag: @task(tags=...)"
                _refuse(name, tag, sources, f"names a tag that no task has; {which}")


def _with_tasks(item: Description, options: Options) -> Description:
    """Return a class with the tasks that take part, and the rows of the report that are left."""
    kept = [place for place, (_, _, tags) in enumerate(item["tasks"]) if _takes_part(set(tags), options)]
    tasks = [item["tasks"][place] for place in kept]
    gone = {task[0] for task in item["tasks"]} - {task[0] for task in tasks}
    return {**item, "tasks": tasks, "kept": kept, "rows": [row for row in item["rows"] if row not in gone]}


def _takes_part(tags: set[str], options: Options) -> bool:
    return (not options.tags or not tags.isdisjoint(options.tags)) and tags.isdisjoint(options.exclude_tags)


def _refuse(name: str, value: str, sources: dict[str, str], why: str) -> None:
    source = sources.get(name, flag(name))
    subject = f"The {source} option" if source.startswith("-") else source[0].upper() + source[1:]
    raise InvalidOption(source, value, f"{subject} {why}.")
