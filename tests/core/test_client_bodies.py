"""Bodies of requests, as the server saw them: JSON, forms, files, bytes, and what is made while it is sent."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
from pathlib import Path

import pytest
from echoed import Echoed
from in_process import EngineLoop
from sites import Server

from gaggle import User

FORM = "application/x-www-form-urlencoded"

BODIES = [
    ({"json": {"a": [1, None, True, "ü"]}}, '{"a":[1,null,true,"ü"]}'.encode(), "application/json"),
    ({"json": []}, b"[]", "application/json"),
    ({"json": 0}, b"0", "application/json"),
    ({"json": "", "data": None}, b'""', "application/json"),
    ({"json": {"a": 1}, "data": {}}, b'{"a":1}', "application/json"),
    ({"data": "grüße"}, "grüße".encode(), None),
    ({"data": b"\0\xff"}, b"\0\xff", None),
    ({"data": bytearray(b"abc")}, b"abc", None),
    ({"data": memoryview(b"abc")[1:]}, b"bc", None),
    ({"data": [b"ab", b"c"]}, b"abc", None),
    ({"data": ""}, b"", None),
    ({"data": b""}, b"", None),
    ({"data": {"a": "1 2", "b": "é&="}}, b"a=1+2&b=%C3%A9%26%3D", FORM),
    ({"data": {"a": [1, 2]}}, b"a=1&a=2", FORM),
    ({"data": [("a", 1), ("a", 2)]}, b"a=1&a=2", FORM),
    ({"data": (("a", 1),)}, b"a=1", FORM),
    ({"data": {"a": None, "b": 1}}, b"b=1", FORM),
    ({"data": {"a": True}}, b"a=true", FORM),
    ({"data": {"a": b"\xff"}}, b"a=%FF", FORM),
    ({"data": {}}, b"", FORM),
    ({"data": None, "json": None}, b"", None),
]


@pytest.mark.parametrize(("options", "body", "content_type"), BODIES)
def test_a_body_arrives_with_its_type_and_length(
    engine: EngineLoop, user: User, options: dict[str, object], body: bytes, content_type: str | None
) -> None:
    echoed = Echoed(engine.run(user.post("/echo", **options)))

    assert echoed.body == body
    assert echoed.headers.get("content-type") == content_type
    assert echoed.headers["content-length"] == str(len(body))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PURGE"])
def test_every_method_but_head_can_carry_a_body(engine: EngineLoop, user: User, method: str) -> None:
    echoed = Echoed(engine.run(user.request(method, "/echo", json={"a": 1})))

    assert (echoed.method, echoed.body) == (method, b'{"a":1}')


def test_post_takes_data_and_json_also_by_place(engine: EngineLoop, user: User) -> None:
    data = Echoed(engine.run(user.post("/echo", {"a": 1})))
    content = Echoed(engine.run(user.put("/echo", None, [1])))

    assert (data.body, content.body) == (b"a=1", b"[1]")


@pytest.mark.parametrize("where", ["user", "class", "request"])
def test_a_content_type_of_ones_own_is_kept(engine: EngineLoop, where: str) -> None:
    own = {"Content-Type": "application/vnd.goose+json"}

    class Visitor(User):
        headers = own if where == "class" else {}

    user = engine.user(Visitor)
    if where == "user":
        user.headers.update(own)
    extra = {"headers": own} if where == "request" else {}

    seen = [
        Echoed(engine.run(user.post("/echo", **body, **extra))) for body in ({"data": "{}"}, {"json": {}}, {"data": {}})
    ]

    assert [each.headers["content-type"] for each in seen] == [own["Content-Type"]] * 3


def test_a_large_body_arrives_whole(engine: EngineLoop, user: User, server: Server) -> None:
    body = random.Random(1).randbytes(5_000_000)

    response = engine.run(user.post("/post", data=body))

    assert response.json() == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert server.seen().body_bytes == len(body)
    assert engine.row("POST /post").bytes_out > len(body)


def test_bodies_of_several_requests_at_once_are_not_mixed_up(engine: EngineLoop, user: User) -> None:
    bodies = [random.Random(seed).randbytes(300_000 + seed) for seed in range(8)]

    async def post_all() -> list[str]:
        responses = await asyncio.gather(*(user.post("/post", data=body) for body in bodies))
        return [response.json()["sha256"] for response in responses]

    assert engine.run(post_all()) == [hashlib.sha256(body).hexdigest() for body in bodies]


# Files in a form.


def test_files_and_fields_of_a_form_arrive_as_parts(engine: EngineLoop, user: User, tmp_path: Path) -> None:
    picture = tmp_path / "goose.png"
    picture.write_bytes(b"\x89PNG")
    with picture.open("rb") as opened:
        files = {
            "plain": b"bytes",
            "open": opened,
            "named": ("notes.txt", "text ü"),
            "typed": ("data", io.BytesIO(b"[]"), "application/json"),
        }
        response = engine.run(user.post("/upload", data={"a": 1, "b": [2, 3.5], "c": None}, files=files))

    parts = [(part["name"], part["filename"], part["type"], part["bytes"]) for part in response.json()]
    assert parts == [
        ("a", None, "text/plain", 1),
        ("b", None, "text/plain", 1),
        ("b", None, "text/plain", 3),
        ("plain", "plain", "application/octet-stream", 5),
        ("open", "goose.png", "image/png", 4),
        ("named", "notes.txt", "text/plain", 7),
        ("typed", "data", "application/json", 2),
    ]


def test_files_may_be_pairs_and_a_field_may_have_several(engine: EngineLoop, user: User) -> None:
    response = engine.run(user.post("/upload", files=[("f", ("1.txt", b"a")), ("f", ("2.txt", b"bb"))]))

    assert [(part["name"], part["filename"], part["bytes"]) for part in response.json()] == [
        ("f", "1.txt", 1),
        ("f", "2.txt", 2),
    ]


def test_a_multipart_body_has_its_boundary_whatever_the_users_headers_say(engine: EngineLoop, user: User) -> None:
    user.headers["Content-Type"] = "application/json"

    assert len(engine.run(user.post("/upload", files={"f": b"x"})).json()) == 1


def test_json_that_is_echoed_is_what_was_sent(engine: EngineLoop, user: User) -> None:
    sent = {"text": 'a "goose" \\ \u2028 \U0001f9a2 ü', "deep": [[[{}]]], "number": 1e100}

    response = engine.run(user.post("/json", json=sent))

    assert response.json() == sent == json.loads(response.body)
