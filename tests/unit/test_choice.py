"""Which user classes and tasks take part."""

from __future__ import annotations

import pytest

from gaggle.choice import choose, chosen
from gaggle.errors import InvalidOption
from gaggle.options import Options

CLASSES = [
    {"name": "AnonUser", "rows": ["front", "node"], "tasks": [["front", 3, ["fast"]], ["node", 1, ["slow", "read"]]]},
    {"name": "AuthUser", "rows": ["login", "edit"], "tasks": [["edit", 1, ["slow"]]]},
    {"name": "Admin", "rows": ["clean"], "tasks": [["clean", 1, []]]},
]

CHOICES = [
    # options, the tasks that take part by their place
    ({}, {"AnonUser": [0, 1], "AuthUser": [0], "Admin": [0]}),
    ({"classes": ("Admin",)}, {"Admin": [0]}),
    ({"classes": ("admin", "authuser")}, {"AuthUser": [0], "Admin": [0]}),  # Goose takes any case
    ({"classes": ("A*User",)}, {"AnonUser": [0, 1], "AuthUser": [0]}),
    ({"classes": ("*",)}, {"AnonUser": [0, 1], "AuthUser": [0], "Admin": [0]}),
    ({"tags": ("slow",)}, {"AnonUser": [1], "AuthUser": [0]}),
    ({"tags": ("fast", "read")}, {"AnonUser": [0, 1]}),
    ({"exclude_tags": ("slow",)}, {"AnonUser": [0], "Admin": [0]}),
    ({"tags": ("slow",), "exclude_tags": ("read",)}, {"AuthUser": [0]}),
    ({"classes": ("Anon*",), "exclude_tags": ("fast",)}, {"AnonUser": [1]}),
]


@pytest.mark.parametrize(("options", "wanted"), CHOICES)
def test_what_takes_part_is_what_was_chosen(options, wanted):
    assert chosen(choose(CLASSES, Options(**options), {})) == wanted


def test_rows_of_tasks_that_do_not_take_part_are_gone_and_those_of_on_start_stay():
    found = choose(CLASSES, Options(tags=("slow",)), {})

    assert [item["rows"] for item in found] == [["node"], ["login", "edit"]]


REFUSED = [
    (
        {"classes": ("User",)},
        "classes",
        "User",
        "names no user class of the load test, which has AnonUser, AuthUser, Admin",
    ),
    ({"classes": ("A*", "B*")}, "classes", "B*", "names no user class of the load test"),
    ({"tags": ("slwo",)}, "tags", "slwo", "names a tag that no task has; the tags are fast, read, slow"),
    ({"exclude_tags": ("x",)}, "exclude_tags", "x", "names a tag that no task has"),
    ({"classes": ("Admin",), "tags": ("slow",)}, "tags", "slow", "names a tag that no task has; none has a tag"),
    ({"tags": ("slow",), "exclude_tags": ("slow",)}, "tags", "slow", "leaves no task to run"),
]


@pytest.mark.parametrize(("options", "name", "value", "why"), REFUSED)
def test_what_chooses_nothing_is_refused_and_says_what_there_is(options, name, value, why):
    flag = "--" + name.replace("_", "-")

    with pytest.raises(InvalidOption) as caught:
        choose(CLASSES, Options(**options), {})

    assert (caught.value.option, caught.value.value) == (flag, value)
    assert caught.value.detail.startswith(f"The {flag} option {why}")


def test_the_error_names_the_source():
    with pytest.raises(InvalidOption, match="GAGGLE_TAGS names a tag that no task has"):
        choose(CLASSES, Options(tags=("x",)), {"tags": "GAGGLE_TAGS"})
