"""HTTP/2, where the load test asks for it."""

from __future__ import annotations

import asyncio

from in_process import MakeEngineLoop
from sites import HttpsServer, Nginx

# HTTP/2.


def test_http2_is_spoken_where_it_is_asked_for(
    engine_loop: MakeEngineLoop, nginx: Nginx, https_server: HttpsServer
) -> None:
    engine = engine_loop(nginx.https_url, cacert=str(https_server.ca_file))

    one, two = engine.run(engine.user().get("/")), engine.run(engine.user().get("/", http_version="2"))

    assert [(each.status, each.http_version, each.text, each.reason) for each in (one, two)] == [
        (200, "1.1", "hello\n", "OK"),
        (200, "2", "hello\n", ""),
    ]
    assert [hit.protocol for hit in nginx.log()] == ["HTTP/1.1", "HTTP/2.0"]


def test_http2_carries_many_requests_on_one_connection(
    engine_loop: MakeEngineLoop, nginx: Nginx, https_server: HttpsServer
) -> None:
    engine = engine_loop(nginx.https_url, cacert=str(https_server.ca_file), http_version="2")
    user = engine.user()

    async def at_once() -> list[int]:
        found = await asyncio.gather(
            *(user.get(path) for path in ("/", "/page.html", "/big.bin", "/404", "/small.txt") * 4)
        )
        return [len(response.body) for response in found]

    sizes = engine.run(at_once())

    hits = nginx.log()
    assert [sizes[index] for index in (0, 1, 2, 4)] == [6, 15_000, 1 << 20, 8]
    assert sizes[:5] == sizes[5:10] == sizes[15:]
    assert len(hits) == 20
    assert len({hit.connection for hit in hits}) == 1
    assert {hit.protocol for hit in hits} == {"HTTP/2.0"}


def test_http2_carries_bodies_redirects_streams_and_cancelled_requests(
    engine_loop: MakeEngineLoop, nginx: Nginx, https_server: HttpsServer
) -> None:
    engine = engine_loop(nginx.https_url, cacert=str(https_server.ca_file), http_version="2")
    user = engine.user()

    async def everything() -> tuple[int, int, int]:
        posted = await user.post("/204", data=b"x" * 100_000)
        moved = await user.get("/redirect")
        streamed = await user.get("/big.bin", stream=True)
        size = len(await streamed.read())
        async with await user.get("/big.bin", stream=True) as response:
            await anext(response)
        assert (await user.get("/")).http_version == "2"
        return posted.status, len(moved.history), size

    assert engine.run(everything()) == (204, 1, 1 << 20)
    assert engine.row("GET /big.bin").unfinished == 1


def test_a_server_without_http2_is_spoken_to_as_it_can(engine_loop: MakeEngineLoop, https_server: HttpsServer) -> None:
    engine = engine_loop(https_server.url, cacert=str(https_server.ca_file), http_version="2")

    response = engine.run(engine.user().get("/"))

    assert (response.status, response.http_version) == (200, "1.1")
