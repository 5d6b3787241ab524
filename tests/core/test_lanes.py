"""The fast lane does as libcurl does: what either lane makes of an exchange, and what the server sees of it, is the same."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from exchanges import EXCHANGES, Call, Exchange
from in_process import EngineLoop
from scripted import Script, Stage, Step

from gaggle import User
from gaggle._core import Scope
from gaggle.metrics import Snapshot

AT_ONCE = 12  # exchanges: enough to wait for none, and few enough not to be slowed down by each other
LONGEST_SECONDS = 60.0


class Seen(NamedTuple):
    """One response, as a load test sees it."""

    status: int
    reason: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes
    error: str | None
    fault: str | None
    ok: bool
    history: list[tuple[int, str]]
    url: str
    dropped: int


class Outcome(NamedTuple):
    """What became of an exchange: for the load test, for the report, for the server."""

    responses: list[Seen]
    cookies: list[tuple[Any, ...]]
    counts: dict[str, dict[str, Any]]
    connections: int
    requests: list[tuple[int, tuple[str, ...], bytes]]


class Certificates:
    """A server's certificate and the file with its authority."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.file)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.context)


# Playing.


def perform_all(lane: str, exchanges: list[Exchange], certificates: Certificates | None) -> dict[str, Outcome]:
    """Return what becomes of each of `exchanges`, which need the same settings, by name."""
    cacert = {"cacert": certificates.file} if certificates else {}
    engine = EngineLoop(None, {"lane": lane} | cacert | dict(exchanges[0].settings))
    try:
        played = engine.run(perform_together(engine, exchanges, certificates), LONGEST_SECONDS)
        rows = Snapshot.read(engine.arena).requests()
    finally:
        engine.close()
    for row in rows:
        played[row.key.name].counts[row.key.label] = {
            name: getattr(row, name)
            for name in ("started", "answered", "broken", "failed", "forgiven", "unfinished", "hops", "resent")
        } | {"bytes_in": row.bytes_in, "bytes_out": row.bytes_out, "statuses": row.statuses}
    return played


async def perform_together(
    engine: EngineLoop, exchanges: list[Exchange], certificates: Certificates | None
) -> dict[str, Outcome]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def limited(exchange: Exchange) -> Outcome:
        async with slots:
            try:
                return await perform(engine, exchange, certificates.context if certificates else None)
            except Exception as error:
                error.add_note(exchange.name)
                raise

    outcomes = await asyncio.gather(*map(limited, exchanges))
    return {exchange.name: outcome for exchange, outcome in zip(exchanges, outcomes, strict=True)}


async def perform(engine: EngineLoop, exchange: Exchange, context: ssl.SSLContext | None) -> Outcome:
    with Stage(exchange.scripts, exchange.routes, exchange.reads, context) as stage:
        stage.scripts = [filled(script, stage) for script in stage.scripts]
        user = engine.user()
        user.host, user.scope = stage.url, Scope(exchange.name)
        try:
            responses = []
            for call in (*exchange.calls, Call()):
                responses.append(await one(user, call, stage))
                await quiet(stage)
            cookies = [cookie_facts(cookie) for cookie in user.cookies]
        finally:
            user.forget()
        await quiet(stage)
        heard = [(number, neutral(head, stage), body) for number, head, body in stage.heard]
        return Outcome(responses, cookies, {}, stage.accepted, heard)


async def one(user: User, call: Call, stage: Stage) -> Seen:
    options = dict(call.options)
    if options.get("data") == "{pieces}":
        options["data"] = iter([b"go", b"", b"ose"])
    if call.streamed:
        options["stream"] = True
    response = await user.request(call.method, call.path, **options)
    body = await response.read()
    return Seen(
        response.status,
        response.reason,
        response.http_version,
        response.headers.multi_items(),
        body,
        response.error,
        response.fault,
        response.ok,
        [(hop.status, neutral_text(hop.url, stage)) for hop in response.history],
        neutral_text(response.url, stage),
        response.dropped,
    )


async def quiet(stage: Stage) -> None:
    """Wait until the server has done all it wants to do, and until what it has sent was seen."""
    deadline = time.monotonic() + 10
    while not stage.is_quiet:
        assert time.monotonic() < deadline, "the server is waiting for something"
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.003)


def filled(script: Script, stage: Stage) -> Script:
    """Put the server's addresses in."""
    names = {
        b"{here}": stage.url,
        b"{elsewhere}": stage.url.replace("127.0.0.1", "localhost"),
        b"{here_bare}": f"127.0.0.1:{stage.port}",
        b"{elsewhere_bare}": f"localhost:{stage.port}",
    }

    def fill(step: Step) -> Step:
        if isinstance(step, bytes) and b"{" in step[:200]:
            for name, value in names.items():
                step = step.replace(name, value.encode())
        return step

    return [fill(step) for step in script]


def neutral_text(text: str, stage: Stage) -> str:
    return text.replace(f":{stage.port}", ":PORT")


def neutral(lines: tuple[str, ...], stage: Stage) -> tuple[str, ...]:
    return tuple(neutral_text(line, stage) for line in lines)


def cookie_facts(cookie: Any) -> tuple[Any, ...]:
    """Return all of a cookie; how long it still lives in hours."""
    lives = cookie.expires and round((cookie.expires - time.time()) / 3_600)
    return (cookie.name, cookie.value, cookie.domain, cookie.path, lives, cookie.secure, cookie.http_only, cookie.host_only)


# Comparing.


class Pair(NamedTuple):
    fast: Outcome
    libcurl: Outcome


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    return both(EXCHANGES, None)


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    certificates = Certificates(tmp_path_factory.mktemp("lanes"))
    return both([exchange for exchange in EXCHANGES if exchange.tls], certificates)


def both(exchanges: list[Exchange], certificates: Certificates | None) -> dict[str, Pair]:
    found: dict[str, Pair] = {}
    for settings in {exchange.settings: None for exchange in exchanges}:
        group = [exchange for exchange in exchanges if exchange.settings == settings]
        libcurl = perform_all("libcurl", group, certificates)
        fast = perform_all("fast", group, certificates)
        found |= {name: Pair(fast[name], libcurl[name]) for name in fast}
    return found


def facts(outcome: Outcome) -> dict[str, Any]:
    """Return all that can differ, by a name that says where it is."""
    found: dict[str, Any] = {
        f"response {i}: {name}": value
        for i, seen in enumerate(outcome.responses)
        for name, value in seen._asdict().items()
    }
    found |= {f"{label}: {name}": value for label, row in outcome.counts.items() for name, value in row.items()}
    found |= {f"request {i}": request for i, request in enumerate(outcome.requests)}
    return found | {"cookies": outcome.cookies, "connections": outcome.connections, "requests": len(outcome.requests)}


def differences(pair: Pair) -> dict[str, tuple[Any, Any]]:
    """Return what differs: (in the fast lane, in the libcurl lane)."""
    fast, libcurl = facts(pair.fast), facts(pair.libcurl)
    names = {**fast, **libcurl}
    return {name: (fast.get(name), libcurl.get(name)) for name in names if fast.get(name) != libcurl.get(name)}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_both_lanes_do_the_same(plain: dict[str, Pair], exchange: Exchange) -> None:
    assert not differences(plain[exchange.name])


@pytest.mark.parametrize("exchange", [row for row in EXCHANGES if row.tls], ids=lambda exchange: exchange.name)
def test_both_lanes_do_the_same_over_tls(over_tls: dict[str, Pair], exchange: Exchange) -> None:
    assert not differences(over_tls[exchange.name])
