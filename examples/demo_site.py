"""A small web site in the shape of a Drupal one, to aim the examples at.

    python examples/demo_site.py --port 8080
    python examples/demo_site.py --run gaggle examples/drupal_loadtest.py --host {host} --users 8 --run-time 10s

It has a front page with six assets, 9,999 nodes, 5,000 users (user2 to user5001, all with the password 12345) who can
sign in and comment, and a small API with tokens. It counts what it serves: GET /_seen tells, POST /_reset starts over.
With `--run` it takes a free port, writes its URL over every `{host}` in the command, runs the command, prints what it
served, and exits as the command did. It serves plain HTTP on loopback and keeps everything in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import secrets
import signal
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from html import escape
from typing import NamedTuple

from aiohttp import web

NODES = range(1, 10_000)
USERS = range(2, 5_002)  # 1 is the administrator, who does not visit load tests
PASSWORD = "12345"
COMMENT_FORM = "comment_node_article_form"
COMMENTS_KEPT = 20  # a node: a long test must neither fill the memory nor make its pages longer and longer
SECRET = secrets.token_bytes(16)  # of this run: sessions and forms are signed with it, so none has to be remembered
SESSION = "SESS" + hashlib.md5(b"demo site", usedforsecurity=False).hexdigest()

SCRIPT, PICTURE = "text/javascript", "image/png"
ASSETS = {  # path: type and size in bytes
    "/misc/jquery.js": (SCRIPT, 8_000),
    "/misc/jquery.once.js": (SCRIPT, 600),
    "/misc/drupal.js": (SCRIPT, 4_000),
    "/misc/feed.png": (PICTURE, 656),
    "/themes/garland/logo.png": (PICTURE, 5_000),
    "/themes/garland/images/banner.png": (PICTURE, 12_000),
}
PROSE = "A goose, a gander, and the gosling between them fly in a skein. Who flies behind another flies for less. " * 20


class Served(NamedTuple):
    """What is counted: the route that answered ("GET /node/{nid}"), and how."""

    route: str
    status: int


class Comment(NamedTuple):
    subject: str
    body: str


class Site:
    """All state: what was served, and the comments. Sessions and forms are signed, not stored."""

    def __init__(self) -> None:
        self.served: Counter[Served] = Counter()
        self.comments: defaultdict[int, deque[Comment]] = defaultdict(lambda: deque(maxlen=COMMENTS_KEPT))

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.count])
        app.add_routes(
            [
                web.get("/", front_page),
                web.get("/about", about_page),
                web.get("/node/{nid}", self.node_page),
                web.get("/user", login_page),
                web.post("/user", log_in),
                web.get("/user/{uid}", user_page),
                web.post("/comment/reply/{nid}", self.add_comment),
                web.get("/misc/{file}", asset),
                web.get("/themes/{file:.+}", asset),
                web.post("/api/token", give_token),
                web.get("/api/profile", profile),
                web.get("/_seen", self.seen),
                web.post("/_reset", self.reset),
            ]
        )
        return app

    @web.middleware
    async def count(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            self.note(request, error.status)
            raise
        self.note(request, response.status)
        return response

    def note(self, request: web.Request, status: int) -> None:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else "(unknown)"
        if not path.startswith("/_"):
            self.served[Served(f"{request.method} {path}", status)] += 1

    async def seen(self, request: web.Request) -> web.Response:
        """{"GET /node/{nid}": {"200": 17, "404": 1}, ...}"""
        seen: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for (route, status), times in sorted(self.served.items()):
            seen[route][str(status)] = times
        return web.json_response(seen)

    async def reset(self, request: web.Request) -> web.Response:
        self.served.clear()
        return web.Response(text="reset\n")

    async def node_page(self, request: web.Request) -> web.Response:
        nid = number_in(NODES, request.match_info["nid"])
        comments = "".join(f"<h3>{escape(c.subject)}</h3><p>{escape(c.body)}</p>\n" for c in self.comments.get(nid, ()))
        form = comment_form(nid, request.cookies[SESSION]) if signed_in(request) else ""
        return page(f"Node {nid}", f"<p>{prose(nid)}</p>\n<div id='comments'>{comments}</div>\n{form}")

    async def add_comment(self, request: web.Request) -> web.Response:
        nid = number_in(NODES, request.match_info["nid"])
        form = await fields_of(request)
        if not signed_in(request) or not comment_form_is_ours(form, request.cookies[SESSION]):
            raise web.HTTPForbidden(text="the form has expired\n")
        self.comments[nid].append(Comment(form.get("subject", ""), form.get("comment_body[und][0][value]", "")))
        return redirect(f"/node/{nid}#comment-{len(self.comments[nid])}")


async def front_page(request: web.Request) -> web.Response:
    tags = "\n".join(f'<{"script" if path.endswith(".js") else "img"} src="{path}">' for path in ASSETS)
    return page("Welcome", f"{tags}\n<p>{prose(0)}</p>")


async def about_page(request: web.Request) -> web.Response:
    return page("About us", f"<p>{prose(-1)}</p>")


async def user_page(request: web.Request) -> web.Response:
    uid = number_in(USERS, request.match_info["uid"])
    return page(f"user{uid}", f"<p>Member since {1900 + uid % 100}</p>")


async def asset(request: web.Request) -> web.Response:
    kind, size = ASSETS.get(request.path) or (None, 0)
    if not kind:
        raise web.HTTPNotFound
    return web.Response(body=b"/" * size, content_type=kind)


async def login_page(request: web.Request) -> web.Response:
    if uid := signed_in(request):
        return redirect(f"/user/{uid}")
    return page("User account", login_form())


async def log_in(request: web.Request) -> web.Response:
    """A form that is not ours is 403; a wrong name or password shows the form again, as Drupal does, with 200."""
    form = await fields_of(request)
    if form.get("form_id") != "user_login" or not checked("form", form.get("form_build_id", "")):
        raise web.HTTPForbidden(text="the form has expired\n")
    uid = user_called(form.get("name", ""), form.get("pass", ""))
    if not uid:
        return page("User account", "<p>Sorry, unrecognized username or password.</p>" + login_form())
    response = redirect(f"/user/{uid}")
    response.set_cookie(SESSION, signed("session", f"{uid}-{secrets.token_hex(8)}"), httponly=True)
    return response


async def give_token(request: web.Request) -> web.Response:
    """{"name": ..., "password": ...} in, {"token": ...} out."""
    try:
        given = await request.json()
        uid = user_called(str(given["name"]), str(given["password"]))
    except (ValueError, TypeError, KeyError) as error:
        raise web.HTTPBadRequest(text="send a name and a password as JSON\n") from error
    if not uid:
        raise web.HTTPForbidden(text="unrecognized name or password\n")
    return web.json_response({"token": signed("token", str(uid))})


async def profile(request: web.Request) -> web.Response:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    uid = checked("token", token)
    if kind != "Bearer" or not uid:
        raise web.HTTPUnauthorized(text="sign in at /api/token\n", headers={"WWW-Authenticate": "Bearer"})
    return web.json_response({"id": int(uid), "name": f"user{uid}"})


def page(title: str, content: str) -> web.Response:
    head = f"<!DOCTYPE html>\n<html><head><title>{title} | Demo</title></head>"
    html = f"{head}<body>\n<h1>{title}</h1>\n{content}\n</body></html>\n"
    return web.Response(text=html, content_type="text/html")


def redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location})


def login_form() -> str:
    return (
        '<form action="/user" method="post"><input name="name"><input name="pass" type="password">'
        + hidden(form_build_id=build_id(), form_id="user_login")
        + '<input type="submit" name="op" value="Log in"></form>'
    )


def comment_form(nid: int, session: str) -> str:
    return (
        f'<form action="/comment/reply/{nid}" method="post"><input name="subject">'
        '<textarea name="comment_body[und][0][value]"></textarea>'
        + hidden(form_build_id=build_id(), form_token=form_token(session), form_id=COMMENT_FORM)
        + '<input type="submit" name="op" value="Save"></form>'
    )


def hidden(**fields: str) -> str:
    return "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())


def comment_form_is_ours(form: Mapping[str, str], session: str) -> bool:
    return (
        form.get("form_id") == COMMENT_FORM
        and bool(checked("form", form.get("form_build_id", "")))
        and form.get("form_token") == form_token(session)
    )


def build_id() -> str:
    return signed("form", f"form-{secrets.token_hex(12)}")


def form_token(session: str) -> str:
    return signature(COMMENT_FORM, session)


def signed(kind: str, value: str) -> str:
    return f"{value}.{signature(kind, value)}"


def checked(kind: str, text: str) -> str:
    """Return the value that was signed as `kind`, or an empty string if `text` is no such thing."""
    value, _, mark = text.rpartition(".")
    return value if mark == signature(kind, value) else ""


def signature(kind: str, value: str) -> str:
    return hmac.new(SECRET, f"{kind} {value}".encode(), hashlib.sha256).hexdigest()[:32]


def signed_in(request: web.Request) -> int:
    """Return the number of the user whose session this is, or 0."""
    return int(checked("session", request.cookies.get(SESSION, "")).partition("-")[0] or 0)


def user_called(name: str, password: str) -> int:
    """Return the number of user `name`, or 0 if there is none or the password is wrong."""
    digits = name.removeprefix("user")
    known = name.startswith("user") and digits.isdecimal() and int(digits) in USERS
    return int(digits) if known and password == PASSWORD else 0


def number_in(numbers: range, text: str) -> int:
    """Return `text` as a number. Raises 404 if it is none of `numbers`."""
    if not text.isdecimal() or int(text) not in numbers:
        raise web.HTTPNotFound
    return int(text)


async def fields_of(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def prose(seed: int) -> str:
    """Return 1,200 characters about geese, the same ones for the same seed."""
    start = seed * 37 % len(PROSE)
    return (PROSE + PROSE)[start : start + 1_200]


# --- the process


async def serve(site: Site, port: int) -> tuple[web.AppRunner, str]:
    """Return the runner, to be cleaned up, and the URL."""
    runner = web.AppRunner(site.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def serve_until_stopped(port: int) -> int:
    runner, url = await serve(Site(), port)
    print(f"demo site on {url}", flush=True)
    stop = asyncio.Event()
    on_signals(lambda number: stop.set())
    await stop.wait()
    await runner.cleanup()
    return 0


async def serve_while_running(words: list[str]) -> int:
    """Return the exit code of the command, 128 + n if signal n ended it, 127 if it could not be started."""
    site = Site()
    runner, url = await serve(site, 0)
    code = await run([word.replace("{host}", url) for word in words])
    await runner.cleanup()
    print("\n" + "\n".join(table(site.served)), flush=True)
    return code


async def run(command: list[str]) -> int:
    signals: asyncio.Queue[int] = asyncio.Queue()
    on_signals(signals.put_nowait)  # before there is anything to stop: what comes too early is passed on, too
    try:
        # A group of its own: otherwise a Ctrl-C would reach it twice, from the terminal and from us, and a load test
        # takes the second one as "stop at once".
        process = await asyncio.create_subprocess_exec(*command, process_group=0, stdin=asyncio.subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    forwarding = asyncio.create_task(forward(signals, process))
    code = await process.wait()
    forwarding.cancel()
    return code if code >= 0 else 128 - code


async def forward(signals: asyncio.Queue[int], process: asyncio.subprocess.Process) -> None:
    while True:
        number = await signals.get()
        with suppress(ProcessLookupError):  # it has just ended
            process.send_signal(number)


def on_signals(handle: Callable[[int], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, handle, number)


def table(served: Mapping[Served, int]) -> Iterable[str]:
    yield f"{'The demo site served':<32} {'status':>6} {'requests':>12}"
    for (route, status), times in sorted(served.items()):
        yield f"{route:<32} {status:>6} {times:>12,}"
    yield f"{'in all':<32} {'':>6} {sum(served.values()):>12,}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: 8080)")
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, metavar="COMMAND", help="run this against the site, then end"
    )
    given = parser.parse_args()
    return asyncio.run(serve_while_running(given.run) if given.run else serve_until_stopped(given.port))


if __name__ == "__main__":
    sys.exit(main())
