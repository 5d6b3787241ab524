"""JSON out and in: what the standard library takes and gives, though another one does the work."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from bare import plain
from echoed import Echoed
from in_process import EngineLoop, MakeEngineLoop, ask
from reference import seeded

from gaggle import User

# Most of it msgspec reads otherwise than the standard library, or not at all.
ODD = [
    b"18446744073709551616",
    b"-9223372036854775809",
    b"123456789012345678901234567890",
    b"1e400",
    b"0.1e-400",
    b"-0",
    b"-0.0",
    b"[NaN, Infinity, -Infinity]",
    b'{"a":1,"a":2}',
    b'"\\ud800"',
    b'"\xed\xa0\x80"',
    b"\xef\xbb\xbf[1]",
    " [\u00a01]".encode(),
    b"1" * 5_000,
    b"[" * 20_000,
    b"[" * 400 + b"]" * 400,
    b"[1,]",
    b'"a\tb"',
    b'{"a":1} x',
    b"'a'",
    b"\xff",
    b"nul",
    b"",
]


def read_by(read: Any, *arguments: Any) -> tuple[str, str]:
    """Return what comes of it: a value, or an error with its text."""
    try:
        return "value", repr(read(*arguments))
    except RecursionError:
        return "error", "RecursionError"
    except ValueError as error:
        return "error", repr(error)


@pytest.mark.parametrize("body", ODD, ids=lambda body: repr(body[:30]))
def test_odd_json_is_read_as_the_standard_library_reads_it(engine_loop: MakeEngineLoop, body: bytes) -> None:
    response = ask(engine_loop, plain(body))

    assert read_by(response.json) == read_by(json.loads, body)


class Colour(IntEnum):
    RED = 1


class Name(str):
    """What is derived from str is a str."""


class Share(float):
    """What is derived from float is a float."""


SENT = [
    ({Name("a"): Name("b")}, b'{"a":"b"}'),
    ([Colour.RED, Share(1.5), True, None], b"[1,1.5,true,null]"),
    ([{"deep": Name("x")}, Share("2.5")], b'[{"deep":"x"},2.5]'),
    ({1: 2, 1.5: 3}, b'{"1":2,"1.5":3}'),
    ({None: 1, True: 2}, b'{"null":1,"true":2}'),
    ((1, (2,)), b"[1,[2]]"),
    (10**30, b"1" + b"0" * 30),
    ('</script>\u2028"\\\0', b'"</script>\xe2\x80\xa8\\"\\\\\\u0000"'),
]


@pytest.mark.parametrize(("value", "body"), SENT, ids=lambda each: repr(each)[:30])
def test_what_is_sent_as_json_is_what_the_standard_library_would_send(
    engine: EngineLoop, user: User, value: object, body: bytes
) -> None:
    seen = Echoed(engine.run(user.post("/echo", json=value)))

    assert seen.body == body == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass
class Order:
    user: int
    day: date
    price: Decimal


MORE = [
    (Order(1, date(2026, 11, 27), Decimal("1.50")), {"user": 1, "day": "2026-11-27", "price": "1.50"}),
    ([math.nan, math.inf, {"n": -math.inf, "s": Name("a")}], [None, None, {"n": None, "s": "a"}]),
    ({"ids": {7}, "raw": b"\xff", "s": Name("a")}, {"ids": [7], "raw": "/w==", "s": "a"}),
]


@pytest.mark.parametrize(("value", "meant"), MORE, ids=lambda each: repr(each)[:30])
def test_more_can_be_sent_than_the_standard_library_would(
    engine: EngineLoop, user: User, value: object, meant: object
) -> None:
    assert engine.run(user.post("/json", json=value)).json() == meant


class Odd:
    """Has no form in JSON."""


def test_what_has_no_form_in_json_is_refused(engine: EngineLoop, user: User) -> None:
    circle: list[object] = []
    circle.append(circle)

    with pytest.raises(TypeError, match="Object of type complex is not JSON serializable"):
        engine.run(user.post("/json", json={"a": 1j}))
    with pytest.raises(TypeError, match="Object of type Odd is not JSON serializable"):
        engine.run(user.post("/json", json={"set": {1}, "odd": Odd()}))
    with pytest.raises(ValueError, match="Circular reference"):
        engine.run(user.post("/json", json=circle))


def value_of(drawn: random.Random, depth: int = 0) -> object:
    """Return anything that JSON can say."""
    kind = drawn.randrange(5 if depth > 3 else 7)
    if kind == 5:
        return [value_of(drawn, depth + 1) for _ in range(drawn.randrange(5))]
    if kind == 6:
        return {text_of(drawn): value_of(drawn, depth + 1) for _ in range(drawn.randrange(5))}
    scalars: tuple[object, ...] = (
        None,
        drawn.random() < 0.5,
        drawn.randrange(-(2**70), 2**70) >> drawn.randrange(70),
        drawn.uniform(-1, 1) * 10 ** drawn.randrange(-300, 300),
        text_of(drawn),
    )
    return scalars[kind]


def text_of(drawn: random.Random) -> str:
    ranges = ((0, 0x7F), (0x80, 0xD7FF), (0xE000, 0x10FFFF))
    return "".join(chr(drawn.randint(*drawn.choice(ranges))) for _ in range(drawn.randrange(8)))


def test_anything_comes_back_as_it_was_sent(engine: EngineLoop, user: User) -> None:
    drawn = seeded()
    values = [[value_of(drawn)] for _ in range(300)]

    async def visit() -> tuple[list[object], list[object]]:
        there = [json.loads(Echoed(await user.post("/echo", json=value)).body) for value in values]
        return there, [(await user.post("/json", json=value)).json() for value in values]

    there, and_back = engine.run(visit())

    assert there == values
    assert and_back == values
