"""The core's objects in Python's hands: what can be made, copied and changed, and what must say that it cannot."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Coroutine, MutableMapping
from typing import Any

import pytest
from in_process import EngineLoop

import gaggle
from gaggle import User, _core


@pytest.mark.parametrize("cls", [gaggle.Response, _core.Request, _core.Promise, _core.Url])
def test_what_only_the_core_makes_cannot_be_made(cls: type[Any]) -> None:
    """Response() was one, and looking at it ended the process."""
    with pytest.raises(TypeError):
        cls()


@pytest.mark.parametrize(
    "made",
    [gaggle.Headers(b""), gaggle.Cookies(), _core.Histogram(), _core.Settings()],
    ids=lambda made: type(made).__name__,
)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_nothing_can_be_pickled(made: object, duplicate: Any) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        duplicate(made)


def test_a_user_without_an_engine_says_how_to_run_it() -> None:
    with pytest.raises(RuntimeError, match="run the load test with `gaggle FILE`"):
        User()


def test_a_request_is_a_coroutine_to_asyncio(engine: EngineLoop, user: User) -> None:
    async def ask() -> bool:
        request = user.get("/")
        await request
        return isinstance(request, Coroutine)

    assert engine.run(ask())


def test_a_users_headers_are_a_mapping_with_names_in_any_case(user: User) -> None:
    headers = user.headers
    own = dict(headers)

    headers.update({"X-One": "1"}, two="2")
    assert (headers["x-one"], headers.get("X-ONE"), headers.get("X-Three")) == ("1", "1", None)
    assert dict(headers) == {**own, "X-One": "1", "two": "2"}
    assert list(headers.values()) == [*own.values(), "1", "2"]
    assert headers.setdefault("TWO", "3") == "2"
    assert headers.pop("x-one") == "1"
    assert headers.pop("x-one", None) is None
    del headers["TWO"]
    assert dict(headers.items()) == own
    assert isinstance(headers, MutableMapping)


def test_a_users_headers_say_which_is_not_there(user: User) -> None:
    with pytest.raises(KeyError):
        user.headers["X-None"]
    with pytest.raises(KeyError):
        user.headers.pop("X-None")
    with pytest.raises(KeyError):
        del user.headers["X-None"]


def test_a_users_headers_can_all_be_taken_away(user: User) -> None:
    user.headers.clear()

    assert (len(user.headers), list(user.headers)) == (0, [])
