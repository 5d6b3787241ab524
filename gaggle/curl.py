"""The curl command that repeats a request: all its headers, cookies and body, quoted for a POSIX shell."""

from __future__ import annotations

import base64
import shlex
from typing import Any
from urllib.parse import urlsplit

from gaggle._core import Response

LONGEST_WORD = 100_000  # bytes of one argument: Linux takes 128 KiB
# What curl sends by itself, always and as soon as there is a body; an empty value takes it away.
OF_ALL = ("Accept", "User-Agent")
OF_BODIES = ("Content-Type", "Expect")
VERSIONS = {"2": ("--http2-prior-knowledge", "--http2"), "3": ("--http3", "--http3")}  # over http, over https
ENCODINGS = "gzip, deflate, br"  # what --compressed decodes, whatever it asks for by itself


def curl(response: Response, settings: dict[str, Any]) -> str:
    """Return the command for the hop that `response` answers; "" when what was sent was not kept.

    `settings` are those of `_core.Settings`.
    """
    if response.sent is None:
        return ""
    method, url, head, body = response.sent
    words = ["curl", *method_words(method, body), "--globoff", "--path-as-is", *policy_words(settings, url)]
    fields = fields_of(head)
    for name, value in fields:
        words += field_words(name, value, urlsplit(url).netloc)
    given = {name.lower() for name, _ in fields}
    unwanted = [name for name in (OF_ALL if body is None else OF_ALL + OF_BODIES) if name.lower() not in given]
    words += [word for name in unwanted for word in ("-H", f"{name}:")]
    feeding = ""
    if body is not None and is_one_word(body):
        words += ["--data-raw", body.decode()]
    elif body is not None:
        feeding = f"printf %s {base64.b64encode(body).decode()} | base64 -d | "
        words += ["--data-binary", "@-"]
    return feeding + shlex.join([*words, url])


def method_words(method: str, body: bytes | None) -> list[str]:
    """Return how curl is told the method; a HEAD by -X would wait for a body."""
    if method == "HEAD":
        return ["--head"]
    return [] if method == ("GET" if body is None else "POST") else ["-X", method]


def fields_of(head: bytes) -> list[tuple[str, str]]:
    """Return the fields of a head, but for the length, which is curl's to say."""
    lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
    found = [(name.decode(), value.strip().decode("utf-8", "surrogateescape")) for name, _, value in lines]
    return [(name, value) for name, value in found if name.lower() != "content-length"]


def field_words(name: str, value: str, authority: str) -> list[str]:
    """Return how curl is told a header; what it sends anyway is left out."""
    if (name.lower(), value) in (("accept", "*/*"), ("host", authority)):
        return []
    if name.lower() == "accept-encoding" and value == ENCODINGS:
        return ["--compressed", "-H", f"{name}: {value}"]
    if name.lower() == "cookie":
        return ["--cookie", value] if "=" in value else ["-H", f"{name}: {value}"]
    return ["-H", f"{name}: {value}" if value else f"{name};"]


def policy_words(settings: dict[str, Any], url: str) -> list[str]:
    """Return what holds for all requests of a run."""
    is_secure = url.startswith("https:")
    words = ["--insecure"] if is_secure and not settings.get("verify", True) else []
    if is_secure and settings.get("cacert"):
        words += ["--cacert", settings["cacert"]]
    if settings.get("http_version") in VERSIONS:
        words.append(VERSIONS[settings["http_version"]][is_secure])
    if settings.get("proxy") not in (None, "", "env"):
        words += ["--proxy", settings["proxy"]]
    return words


def is_one_word(body: bytes) -> bool:
    """Whether a body can be an argument: text, not too long, and nothing in it that a terminal acts upon."""
    try:
        return len(body) < LONGEST_WORD and all(each.isprintable() or each in "\n\t" for each in body.decode())
    except UnicodeDecodeError:
        return False
