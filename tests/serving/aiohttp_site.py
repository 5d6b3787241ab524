"""A site on aiohttp; /big comes in chunks. Usage: aiohttp_site.py FOLDER, as real_servers.py says."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

FOLDER = Path(sys.argv[1])
PAGES = {path: (FOLDER / "files" / path[1:]).read_bytes() for path in ("/page", "/form", "/big")}
CHUNK = 3_000
log = (FOLDER / "access.log").open("a", buffering=1)
served: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # requests by transport


async def handle(door: dict[str, Any], request: web.Request) -> web.StreamResponse:
    await request.read()
    served[request.transport] = nth = served.get(request.transport, 0) + 1
    status = 302 if request.path == "/redirect" else 200
    log.write(f"{door['port']} {request.method} {request.path_qs} {status} {nth}\n")
    answer = prepared(request, status)
    if nth >= door["limit"]:
        answer.force_close()
    await answer.prepare(request)
    if isinstance(answer, web.StreamResponse) and not isinstance(answer, web.Response):
        await send_in_chunks(answer, PAGES["/big"] if request.method != "HEAD" else b"")
    return answer


def prepared(request: web.Request, status: int) -> web.StreamResponse:
    headers = {"X-Id": request.query.get("id", "")}
    if status == 302:
        headers["Location"] = f"/page?{request.query_string}"
    if request.path != "/big":
        return web.Response(status=status, headers=headers, body=PAGES.get(request.path, b""))
    answer = web.StreamResponse(status=status, headers=headers)
    answer.enable_chunked_encoding()
    return answer


async def send_in_chunks(answer: web.StreamResponse, body: bytes) -> None:
    for start in range(0, len(body), CHUNK):
        await answer.write(body[start : start + CHUNK])
    await answer.write_eof()


def application(door: dict[str, Any]) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await handle(door, request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    return app


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "both.pem")
    runners = []
    for door in json.loads((FOLDER / "doors.json").read_text()):
        runner = web.AppRunner(application(door), access_log=None)
        await runner.setup()
        tls = context if door["scheme"] == "https" else None
        await web.TCPSite(runner, "127.0.0.1", door["port"], ssl_context=tls, backlog=4096).start()
        runners.append(runner)
    await stop.wait()
    for runner in runners:
        await runner.cleanup()


asyncio.run(main())
