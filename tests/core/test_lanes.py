"""The fast lane does as libcurl does: what either makes of an exchange, and what the server sees of it, is the same."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from answers import (
    ANSWERS,
    BAD_BYTES,
    BAD_ENCODING,
    COMPLETE,
    NOT_HTTP,
    NOTHING,
    OPEN,
    SHORT,
    TOO_MANY,
    Answer,
)
from exchanges import ENCODED, EXCHANGES, Call, Exchange
from in_process import EngineLoop
from processes import eventually
from scripted import LAST, Script, Stage, Step

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
    received: int  # bytes, by the server
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
        requests = [
            (heard.connection, neutral(heard.head, stage), b"" if exchange.breaks_off else heard.body)
            for heard in stage.heard
        ]
        return Outcome(responses, cookies, {}, stage.accepted, stage.received, requests)


async def one(user: User, call: Call, stage: Stage) -> Seen:
    options = dict(call.options)
    if options.get("data") == "{pieces}":
        options["data"] = iter([b"go", b"", b"ose"])
    if call.streamed:
        options["stream"] = True
    response = await user.request(call.method, call.path, **options)
    body = await read_slowly(response) if call.streamed else response.body
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


async def read_slowly(response: Any) -> bytes:
    """Return the body of a stream, and let the server wait at first."""
    pieces = []
    async for piece in response:
        pieces.append(piece)
        if len(pieces) < 4:
            await asyncio.sleep(0.01)
    return b"".join(pieces)


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
    return (
        cookie.name,
        cookie.value,
        cookie.domain,
        cookie.path,
        lives,
        cookie.secure,
        cookie.http_only,
        cookie.host_only,
    )


# Comparing.


class Pair(NamedTuple):
    fast: Outcome
    libcurl: Outcome


@pytest.fixture(scope="module")
def plain() -> dict[str, Pair]:
    return both(EXCHANGES, None)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("lanes"))


@pytest.fixture(scope="module")
def over_tls(certificates: Certificates) -> dict[str, Pair]:
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


# What may differ.


class Difference(NamedTuple):
    """Why the lanes differ in some `exchanges`, and in what: patterns of names, of exchanges and of `facts`."""

    reason: str
    exchanges: str
    facts: str
    over_tls: bool | None = None  # None: with or without


UNDECODABLE = (
    "deflate without a head, and five bytes|deflate that is gzip|gzip that is deflate without a head|six times|unknown"
    "|zstd|compress|gzip, then unknown|(gzip|deflate|br) that is text|(gzip|deflate) with a wrong sum"
    "|gzip broken in the middle|(gzip|deflate|br) and .*|a broken stream"
)
CONNECTION = r"connections|request \d+"

DIFFERENCES = [
    Difference(
        "the fast lane decodes what is read: a body that cannot be decoded is a failure then, and an answer all the "
        "same; that of a redirect is never read",
        f"encoded: ({UNDECODABLE})|a redirect with a body that is encoded",
        ".*",
    ),
    Difference(
        "the fast lane counts the lines of a head as they come, when they are whole; libcurl as it has unfolded them, "
        "and of a head that is cut or refused also what it had not read yet",
        ".*fold.*|a value that begins on its second line|a length with an empty fold|half a head|.* (cut|reset) at .*"
        "|a head without its last byte|an empty line between heads",
        r"\w+: bytes_in",
    ),
    Difference(
        "libcurl speaks HTTP/1.0 on a connection on which it was answered so, the fast lane the version that it "
        "understands (RFC 9110, 6.2)",
        "HTTP/1.0 that (keeps.*|changes its mind)",
        r"request \d+",
    ),
    Difference(
        "the fast lane closes a connection on which more came than the answer; libcurl drops what is behind the last "
        "chunk and goes on",
        "extra bytes behind chunks",
        CONNECTION,
    ),
    Difference(
        "libcurl does not see `close` in a list that begins with a comma (RFC 9110, 5.6.1.2)",
        "close in a list that begins with a hole",
        CONNECTION,
    ),
    Difference(
        "what is sent piece by piece, or waits for a 100, goes by libcurl, which has connections of its own",
        "a POST of pieces|a POST with Expect|a request with a coding of its own|a redirect .*such a body"
        "|a redirect of a body that is made while it is sent",
        CONNECTION,
    ),
    Difference(
        "a success that comes before the request was read ends the exchange in the fast lane; libcurl sends on, as "
        "long as the server reads",
        "an early success",
        CONNECTION,
    ),
    Difference(
        "the fast lane sends a request again only if nothing came of an answer; libcurl if no whole line did",
        r"a length cut at (0[1-9]|1[0-6]) of a used connection",
        ".*",
    ),
    Difference(
        "libcurl takes what came on an idle connection for the next answer, if that is younger than a second: over TLS "
        "nobody else can look at it",
        "a late answer",
        r"response 1: .*|\w+: (failed|bytes_in|statuses)|" + CONNECTION,
        over_tls=True,
    ),
]


def differences_of(exchange: Exchange, over_tls: bool) -> list[Difference]:
    return [
        row for row in DIFFERENCES if re.fullmatch(row.exchanges, exchange.name) and row.over_tls in (None, over_tls)
    ]


def unexplained(exchange: Exchange, pair: Pair, over_tls: bool) -> dict[str, tuple[Any, Any]]:
    """Return what differs and may not."""
    patterns = [row.facts for row in differences_of(exchange, over_tls)]
    if exchange.breaks_off:
        patterns.append(r"\w+: bytes_out")
    found = differences(pair)
    return {name: values for name, values in found.items() if not any(re.fullmatch(row, name) for row in patterns)}


# The tests.


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_both_lanes_do_the_same(plain: dict[str, Pair], exchange: Exchange) -> None:
    assert not unexplained(exchange, plain[exchange.name], False)


@pytest.mark.parametrize("exchange", [row for row in EXCHANGES if row.tls], ids=lambda exchange: exchange.name)
def test_both_lanes_do_the_same_over_tls(over_tls: dict[str, Pair], exchange: Exchange) -> None:
    assert not unexplained(exchange, over_tls[exchange.name], True)


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.reason)
def test_a_difference_that_is_explained_is_still_there(
    plain: dict[str, Pair], over_tls: dict[str, Pair], certificates: Certificates, row: Difference
) -> None:
    pairs = over_tls if row.over_tls else plain
    exchanges = [each for each in EXCHANGES if each.name in pairs and re.fullmatch(row.exchanges, each.name)]

    def shows_again() -> bool:
        """One of them is a race, which a machine that stands still decides otherwise."""
        return any(map(differences, both(exchanges, certificates if row.over_tls else None).values()))

    assert any(differences(pairs[each.name]) for each in exchanges) or any(shows_again() for _ in range(5))


def test_there_are_few_differences() -> None:
    assert len(DIFFERENCES) <= 10


@pytest.mark.parametrize("name", [name for name in ENCODED if re.fullmatch(UNDECODABLE, name)])
def test_a_body_that_cannot_be_decoded_is_the_same_failure_in_both_lanes(plain: dict[str, Pair], name: str) -> None:
    fast, libcurl = plain[f"encoded: {name}"]

    assert (fast.responses[0].status, fast.responses[0].ok, fast.responses[0].body) == (200, False, b"")
    assert str(fast.responses[0].fault).startswith("bad content encoding: ")
    assert libcurl.responses[0].fault == "bad content encoding"


ERRORS = {
    SHORT: "answer cut short",
    NOTHING: "closed without an answer",
    NOT_HTTP: "answer is not HTTP",
    BAD_BYTES: "connection lost",
    BAD_ENCODING: "bad content encoding",
    TOO_MANY: "too many header fields",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)
def test_an_answer_is_what_its_table_says(plain: dict[str, Pair], answer: Answer) -> None:
    """What both lanes agree on may still be wrong."""
    found = plain[answer.reason].fast
    response, again = found.responses

    if answer.outcome in (COMPLETE, OPEN):
        assert (response.status, response.body, response.error) == (answer.status, answer.body, None)
    else:
        assert (response.status, response.error) == (0, ERRORS[answer.outcome])
    assert (again.status, again.body) == (200, b"again")
    assert found.connections == (1 if answer.keeps and not answer.extra else 2)


def test_what_is_counted_as_sent_is_what_the_server_received(plain: dict[str, Pair]) -> None:
    wrong = [
        (exchange.name, outcome.received, outcome.counts)
        for exchange in EXCHANGES
        if exchange.reads == "all"
        for outcome in plain[exchange.name]
        if sum(row["bytes_out"] for row in outcome.counts.values()) != outcome.received
    ]

    assert not wrong


def test_what_came_while_the_loop_was_held_up_is_no_answer_to_what_is_asked_next() -> None:
    """The fast lane alone: libcurl looks only at connections that have been idle for a second."""
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    engine = EngineLoop(None, {"lane": "fast"})

    async def ask(user: User, stage: Stage) -> list[int]:
        first = await user.get("/")
        eventually(lambda: stage.is_quiet)  # a task that blocks
        return [first.status, (await user.get("/")).status]

    with Stage([(LAST[0], 0.05, late)]) as stage:
        user = engine.user()
        user.host = stage.url
        statuses = engine.run(ask(user, stage))
    engine.close()

    assert statuses == [200, 200]
    assert stage.accepted == 2
