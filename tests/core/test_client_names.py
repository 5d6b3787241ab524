"""What a request is counted as: its name, and whether it is a success."""

from __future__ import annotations

import re

import pytest
from in_process import EngineLoop, MakeEngineLoop
from sites import Server

from gaggle import Response, User
from gaggle._core import Scope

# Names.


@pytest.mark.parametrize(
    ("url", "options", "task", "name", "reason"),
    [
        ("/echo", {}, None, "/echo", "its path"),
        ("/echo?a=1", {}, None, "/echo", "without the query"),
        ("/echo", {"params": {"a": 1}}, None, "/echo", "wherever that comes from"),
        ("/echo#top", {}, None, "/echo", "or the fragment"),
        ("/a b/../ü", {}, None, "/%C3%BC", "the path as it is sent"),
        ("/echo", {}, "browse", "browse", "the explicit name of its task"),
        ("/echo", {"name": "front page"}, "browse", "front page", "its own name before that"),
        ("/echo", {"name": ""}, "browse", "", "even an empty one"),
        ("/node/{id}", {"id": 7}, None, "/node/{id}", "the template of its URL"),
        ("/node/{id}?page={page}", {"id": 7, "page": 2}, None, "/node/{id}?page={page}", "with all that is in it"),
        ("/node/{id}", {"id": 7}, "browse", "browse", "which comes after the task"),
        ("/node/{id}", {"id": 7, "name": "node"}, None, "node", "and after its own name"),
        ("/{a}", {}, None, "/%7Ba%7D", "braces without a value are no template"),
    ],
)
def test_a_request_is_named(
    engine: EngineLoop, user: User, url: str, options: dict[str, object], task: str | None, name: str, reason: str
) -> None:
    user.scope = Scope(task)

    response = engine.run(user.get(url, **options))

    assert response.name == name, reason
    assert engine.names() == [f"GET {name}"]


def test_many_urls_of_one_name_are_one_row(engine: EngineLoop, user: User, server: Server) -> None:
    async def browse() -> None:
        for number in range(5):
            await user.get("/node/{number}", number=number)

    engine.run(browse())

    assert engine.names() == ["GET /node/{number}"]
    assert engine.row("GET /node/{number}").answered == 5
    assert [server.seen(f"GET /node/{number}") for number in range(5)] == [1] * 5


def test_a_request_to_another_host_is_named_with_it(engine: EngineLoop, user: User, server: Server) -> None:
    elsewhere = server.url.replace("127.0.0.1", "localhost")

    engine.run(user.get(f"{elsewhere}/echo?a=1"))
    engine.run(user.get(f"{server.url}/echo?a=1"))
    engine.run(user.get(f"{elsewhere}/node/{{id}}", id=1))
    engine.run(user.get(f"{elsewhere}/text", name="text"))

    assert engine.names() == ["GET /echo", f"GET {elsewhere}/echo", f"GET {elsewhere}/node/{{id}}", "GET text"]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a/b?c#d", "/node/a%2Fb%3Fc%23d"),
        ("ü", "/node/%C3%BC"),
        (1.5, "/node/1.5"),
        (None, "/node/None"),
        ("{id}", "/node/%7Bid%7D"),
    ],
)
def test_what_is_put_into_a_template_cannot_leave_its_place(
    engine: EngineLoop, user: User, server: Server, value: object, path: str
) -> None:
    engine.run(user.get("/node/{id}", id=value))

    assert server.seen(f"GET {path}") == 1


@pytest.mark.parametrize(
    ("url", "values", "word"),
    [
        ("/{a}/{b}", {"a": 1}, "needs b="),
        ("/{article}", {"a": 1}, "no option 'a'"),
        ("/{a}", {"a": 1, "b": 2}, "no option 'b'"),
        ("/plain", {"a": 1}, "no option 'a'"),
    ],
)
def test_a_template_and_its_values_must_fit(
    engine: EngineLoop, user: User, url: str, values: dict[str, object], word: str
) -> None:
    with pytest.raises(TypeError, match=word):
        user.get(url, **values)

    assert engine.names() == []


def test_other_braces_in_a_template_stay_as_they_are(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get('/echo?filter={"a": {id}}&empty={}', id=5))

    assert response.json()["query"] == {"filter": '{"a": 5}', "empty": "{}"}


def test_a_name_is_kept_whatever_is_in_it(engine: EngineLoop, user: User) -> None:
    names = ["two words", "größe", "a" * 300, "tab\there", "GET /"]

    for name in names:
        engine.run(user.get("/", name=name))

    assert sorted(engine.names()) == sorted(f"GET {name[:255]}" for name in names)


# Success and failure.


@pytest.mark.parametrize(
    ("status", "options", "ok", "reason"),
    [
        (200, {}, True, "fine"),
        (204, {}, True, "also without a body"),
        (304, {}, True, "below 400"),
        (399, {}, True, "below 400"),
        (400, {}, False, "a fault of the client's"),
        (404, {}, False, "a fault of the client's"),
        (500, {}, False, "a fault of the server's"),
        (999, {}, False, "whatever that is"),
        (404, {"expect": 404}, True, "that was asked for"),
        (200, {"expect": 404}, False, "that was not"),
        (404, {"expect": (200, 404)}, True, "one of several"),
        (500, {"expect": {200, 404}}, False, "none of them"),
        (404, {"expect": range(400, 500)}, True, "a range"),
        (404, {"expect": [200, 404]}, True, "in a list"),
        (200, {"expect": ()}, False, "nothing is expected"),
        (500, {"expect": None}, False, "as if it were not there"),
    ],
)
def test_a_status_is_a_success_or_a_failure(
    engine: EngineLoop, user: User, status: int, options: dict[str, object], ok: bool, reason: str
) -> None:
    response = engine.run(user.get(f"/status/{status}", **options))

    row = engine.row(f"GET /status/{status}")
    assert (response.ok, response.status, row.answered, row.failures) == (ok, status, 1, 0 if ok else 1), reason
    assert row.statuses == {status: 1}
    assert list(engine.errors()) == ([] if ok else [response.fault])


def test_a_failure_says_status_and_reason(engine: EngineLoop, user: User) -> None:
    for status in (404, 404, 500, 999):
        engine.run(user.get(f"/status/{status}", name="page"))

    assert engine.errors() == {"404 Not Found": 2, "500 Internal Server Error": 1, "999 Unheard Of": 1}


def fail(response: Response) -> None:
    response.fail("no goose")


def fail_otherwise(response: Response) -> None:
    response.failure("no gander")


def succeed(response: Response) -> None:
    response.succeed()


@pytest.mark.parametrize(
    ("status", "said", "errors"),
    [
        (200, [fail], {"no goose": 1}),
        (200, [fail, fail], {"no goose": 1}),
        (200, [fail, fail_otherwise], {"no gander": 1}),
        (200, [fail, succeed], {}),
        (200, [succeed], {}),
        (200, [succeed, succeed], {}),
        (200, [fail, succeed, fail], {"no goose": 1}),
        (200, [fail, succeed, fail_otherwise, succeed], {}),
        (500, [], {"500 Internal Server Error": 1}),
        (500, [succeed], {}),
        (500, [succeed, succeed], {}),
        (500, [fail], {"no goose": 1}),
        (500, [succeed, fail], {"no goose": 1}),
        (500, [fail, succeed], {}),
        (500, [succeed, fail, fail_otherwise], {"no gander": 1}),
    ],
    ids=lambda value: "-".join(each.__name__ for each in value) or "nothing" if isinstance(value, list) else None,
)
def test_the_last_word_of_a_task_on_a_response_counts(
    engine: EngineLoop, user: User, status: int, said: list[object], errors: dict[str, int]
) -> None:
    response = engine.run(user.get(f"/status/{status}"))
    for word in said:
        word(response)  # type: ignore[operator]

    assert engine.errors() == errors
    assert engine.row(f"GET /status/{status}").failures == len(errors)
    assert engine.row(f"GET /status/{status}").statuses == {status: 1}, "the status stays what it was"
    assert response.fault == next(iter(errors), None)
    assert response.ok == (not errors)


def test_a_transport_error_can_be_forgiven_too(engine_loop: MakeEngineLoop, server: Server) -> None:
    engine = engine_loop()
    response = engine.run(engine.user().get("/close-silently"))

    response.succeed()

    row = engine.row("GET /close-silently")
    assert (response.ok, response.status, bool(response.error)) == (True, 0, True)
    assert (row.broken, row.failures) == (1, 0)
    assert engine.errors() == {}


def test_a_failure_without_a_reason_has_one(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.get("/"))

    response.fail()

    assert (response.fault, engine.errors()) == ("failed", {"failed": 1})


def test_a_reason_may_be_anything(engine: EngineLoop, user: User) -> None:
    for reason in (ValueError("no"), 404, "größe " * 100):
        engine.run(user.get("/")).fail(reason)

    assert set(engine.errors()) == {"no", "404", ("größe " * 100).encode()[:255].decode(errors="ignore")}


# What is not HTTP.


def test_anything_else_can_be_recorded_like_a_request(engine: EngineLoop, user: User) -> None:
    user.record("SQL", "select", 0.25)
    user.record("SQL", "select", 0.75, "deadlock")
    user.record("SQL", "select", 0, error=KeyError("goose"))

    row = engine.row("SQL select")
    assert (row.started, row.answered, row.failures, row.times.total) == (3, 3, 2, 3)
    assert (row.minimum_us, row.maximum_us) == (1, 750_000)
    assert engine.errors() == {"deadlock": 1, "'goose'": 1}


def test_an_error_without_words_is_recorded_by_its_kind(engine: EngineLoop, user: User) -> None:
    user.record("SQL", "select", 0.1, error=TimeoutError())

    assert list(engine.errors()) == ["TimeoutError"]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_time_that_is_none_cannot_be_recorded(engine: EngineLoop, user: User, seconds: float) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(seconds))):
        user.record("SQL", "select", seconds)

    assert engine.names() == []
