"""The join token, which a worker must know to join a gaggle: made, read, kept, found, and the keys that come of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import shlex
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gaggle.errors import InvalidOption, LoadTestError

VARIABLE = "GAGGLE_JOIN_TOKEN"
FILE_OPTION = "--join-token-file"
PREFIX = "gaggle-"
SECRET_BYTES = 32
CHECK_BYTES = 3  # a typo goes unnoticed once in 16 million times; with the secret 35 bytes: 56 letters, no padding
ALPHABET = set("abcdefghijklmnopqrstuvwxyz234567")  # base32: nothing that looks like something else
LETTERS = (SECRET_BYTES + CHECK_BYTES) * 8 // 5
LONGEST_FILE = 4_096  # enough for a token with blanks around it, and an end to /dev/zero
HIDDEN = "(not shown)"  # in errors: what a person has mistyped is nearly the token


class NoToken(LoadTestError):
    """There is no join token yet in any of the places where one may be. A manager that starts later can write one."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The secret CURVE keys of both sides, 32 bytes each. Who has the token has both: it is one circle of trust."""

    manager: bytes = field(repr=False)
    worker: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """256 secret bits. Shown by `written` alone, so that no log line has them by accident."""

    secret: bytes = field(repr=False)

    @classmethod
    def make(cls) -> Token:
        return cls(secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Token:
        """Return the token that `written` has made `text` of; blanks around it and its case do not matter.

        Raises ValueError with a reason, which does not quote the text.
        """
        letters = text.strip().lower()
        if not letters.startswith(PREFIX):
            raise ValueError(f"must begin with {PREFIX}")
        letters = letters.removeprefix(PREFIX)
        if len(letters) != LETTERS:
            raise ValueError(f"must have {LETTERS} letters after {PREFIX}, not {len(letters)}: was it cut off?")
        if set(letters) - ALPHABET:
            raise ValueError(f"may only have the letters a-z and 2-7 after {PREFIX}")
        data = base64.b32decode(letters.upper())
        secret, check = data[:SECRET_BYTES], data[SECRET_BYTES:]
        if not hmac.compare_digest(check, _check(secret)):
            raise ValueError("is mistyped: its last letters do not fit the others")
        return cls(secret)

    @property
    def written(self) -> str:
        """The token as it is printed and kept: `gaggle-` and 56 letters, the last of which find typos."""
        return PREFIX + base64.b32encode(self.secret + _check(self.secret)).decode().lower()

    def keys(self) -> Keys:
        """Return the keys of a gaggle. The 1 in the salt is the version of this derivation."""
        manager, worker = (hkdf(self.secret, b"gaggle/1", info) for info in (b"manager", b"worker"))
        return Keys(manager, worker)


def _check(secret: bytes) -> bytes:
    return hashlib.sha256(b"gaggle/1 check" + secret).digest()[:CHECK_BYTES]


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """Return `length` bytes that only who has the secret can compute: HKDF-SHA256, RFC 5869."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    made = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        made += block
    return made[:length]


# Kept: a file for the workers of the same machine and person.


def token_file(port: int, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where a manager that listens on `port` keeps its token."""
    return _runtime_directory(environ) / f"{port}.token"


def write_token(token: Token, port: int, environ: Mapping[str, str] = os.environ) -> Path:
    """Put the token where `find_token` looks for it, in place of what is there; return the file, mode 0600.

    Raises LoadTestError where no directory is ours alone, or the file cannot be written.
    """
    path = token_file(port, environ)
    draft = f".{path.name}.{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with _ours_alone(path.parent) as directory:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
            with open(descriptor, "w") as file:
                file.write(token.written + "\n")
            os.replace(draft, path.name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError as error:
        raise LoadTestError(f"cannot write the join token to {path}: {error.strerror}") from None
    return path


def remove_token(token: Token, port: int, environ: Mapping[str, str] = os.environ) -> None:
    """Remove what `write_token` has written, unless another manager has put its own token there since."""
    path = token_file(port, environ)
    with suppress(OSError, ValueError, LoadTestError), _ours_alone(path.parent) as directory:
        if Token.parse(_text_of(path.name, directory)) == token:
            os.unlink(path.name, dir_fd=directory)


def _runtime_directory(environ: Mapping[str, str]) -> Path:
    """Return the directory for files of this person that no other may read. It need not exist.

    XDG_RUNTIME_DIR is not taken when it is another person's, as `su` and `sudo -E` leave it.
    """
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    with suppress(OSError):
        if os.path.isabs(runtime) and os.stat(runtime).st_uid == os.geteuid():
            return Path(runtime, "gaggle")
    return Path(f"/tmp/gaggle-{os.geteuid()}")


@contextmanager
def _ours_alone(directory: Path) -> Iterator[int]:
    """Open a directory that nobody else can have put files into. Raises LoadTestError, or OSError as `open` does.

    Files are then named within the descriptor: in /tmp the name may lead elsewhere a moment later.
    """
    descriptor = os.open(directory, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise LoadTestError(
                f"{directory} must belong to you alone (mode 0700), or others could read or replace the join token: "
                "remove it, or set XDG_RUNTIME_DIR"
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _text_of(path: str, directory: int | None = None) -> str:
    """Return the first LONGEST_FILE bytes of a file as text. Raises OSError."""
    flags = os.O_RDONLY | (os.O_NOFOLLOW if directory is not None else 0)
    with open(os.open(path, flags, dir_fd=directory), "rb") as file:
        return file.read(LONGEST_FILE).decode("utf-8", "replace")


# Found.


def find_token(
    port: int, file: str | None = None, environ: Mapping[str, str] = os.environ, option: str = FILE_OPTION
) -> tuple[Token, str]:
    """Return the token and where it was found: the file that was given, the variable, what a local manager has kept.

    `file` is what `option`, spelled as the person gave it, names. Look anew for each attempt to join: a manager that
    starts again may have a new one. Raises NoToken where there is none (it says where it looked), InvalidOption for a
    file or variable that holds none, LoadTestError for a directory that others can write to.
    """
    if file is not None:
        return _from_file(file, option), file
    if environ.get(VARIABLE):
        return _from_variable(environ[VARIABLE]), VARIABLE
    kept = token_file(port, environ)
    try:
        with _ours_alone(kept.parent) as directory:
            return Token.parse(_text_of(kept.name, directory)), str(kept)
    except FileNotFoundError:
        looked = f"{option} is not given, {VARIABLE} is not set, and no manager on this machine has written {kept}"
        raise NoToken(f"there is no join token: {looked}. The manager prints the command that has it") from None
    except (OSError, ValueError) as error:
        raise LoadTestError(f"{kept}: {_reason(error)}") from None


def _from_file(path: str, option: str) -> Token:
    try:
        return Token.parse(_text_of(path))
    except (OSError, ValueError) as error:
        raise InvalidOption(option, path, f"The token in {path}: {_reason(error)}.") from None


def _from_variable(text: str) -> Token:
    try:
        return Token.parse(text)
    except ValueError as error:
        raise InvalidOption(VARIABLE, HIDDEN, f"{VARIABLE} {error}.") from None


def _reason(error: OSError | ValueError) -> str:
    """Return what an error says after the name of a file."""
    return (error.strerror if isinstance(error, OSError) else str(error)) or "cannot be read"


# Told: the line with which another machine joins.


def join_command(token: Token, load_test: str | None, host: str, port: int) -> str:
    """Return the shell command that starts a worker elsewhere; `load_test` None: it is sent there.

    The token is no argument: `ps` shows those to all.
    """
    what = ["--worker", "--ship"] if load_test is None else [load_test, "--worker"]
    words = ["gaggle", *what, "--manager-host", host, "--manager-port", str(port)]
    return f"{VARIABLE}={token.written} {shlex.join(words)}"


def is_local(host: str) -> bool:
    """Whether no other machine reaches what is bound to `host`."""
    return host in ("localhost", "::1") or host.startswith("127.")


def address_for_others(host: str) -> str:
    """Return how other machines reach what is bound to `host`: for all addresses, the one that leads out of here."""
    if host not in ("0.0.0.0", "::", "*", ""):
        return host
    family, anywhere = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((anywhere, 9))  # chooses the source address; nothing is sent
        return str(probe.getsockname()[0])
    return socket.gethostname()
