"""The join token: a typo is found, the keys come of it and of nothing else, and nobody else can read or replace it."""

from __future__ import annotations

import os
import random
import re
import shlex
import stat
import string

import pytest

from gaggle import joining
from gaggle.errors import InvalidOption, LoadTestError
from gaggle.joining import NoToken, Token, find_token, hkdf, join_command, remove_token, token_file, write_token

TOKEN = Token(bytes(range(32)))
OTHER = Token(b"x" * 32)
PORT = 5115


@pytest.fixture
def environ(tmp_path):
    """An environment with a runtime directory, as a login gives it."""
    tmp_path.chmod(0o700)
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# The token itself.


def test_a_token_is_256_random_bits_and_reads_back():
    first, second = Token.make(), Token.make()

    assert first != second
    assert len(first.secret) == 32
    assert re.fullmatch(r"gaggle-[a-z2-7]{56}", first.written)
    assert Token.parse(first.written) == first


def test_the_written_form_never_changes():
    """Two versions that write it differently could not join each other."""
    assert TOKEN.written == "gaggle-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyp72fvv"


@pytest.mark.parametrize("shape", ["{}\n", "  {}\t", "\n{}\r\n"])
def test_blanks_around_a_token_and_its_case_do_not_matter(shape):
    assert Token.parse(shape.format(TOKEN.written)) == TOKEN
    assert Token.parse(shape.format(TOKEN.written.upper())) == TOKEN


REFUSED = [
    ("", "must begin with gaggle-"),
    ("hunter2", "must begin with gaggle-"),
    ("gaggle-", "must have 56 letters after gaggle-, not 0: was it cut off?"),
    (TOKEN.written[:-1], "must have 56 letters after gaggle-, not 55: was it cut off?"),
    (TOKEN.written * 2, "must have 56 letters after gaggle-, not 119: was it cut off?"),
    (TOKEN.written[:-1] + "1", "may only have the letters a-z and 2-7 after gaggle-"),
    (TOKEN.written[:-1] + "=", "may only have the letters a-z and 2-7 after gaggle-"),
    (TOKEN.written[:-1] + "ä", "may only have the letters a-z and 2-7 after gaggle-"),
    (TOKEN.written[:20] + " " + TOKEN.written[21:], "may only have the letters a-z and 2-7 after gaggle-"),
    (TOKEN.written[:-1] + "a", "is mistyped: its last letters do not fit the others"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_is_no_token_is_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError) as caught:
        Token.parse(text)

    assert str(caught.value) == reason


def test_every_single_typo_and_every_swap_is_found():
    written = TOKEN.written
    seed = random.randrange(2**32)
    drawn = random.Random(seed)
    typos = {
        written[:place] + letter + written[place + 1 :]
        for place in range(len(joining.PREFIX), len(written))
        for letter in drawn.sample(string.ascii_lowercase + "234567", 4)
    }
    swaps = {written[:at] + written[at + 1] + written[at] + written[at + 2 :] for at in range(7, len(written) - 1)}

    for typo in (typos | swaps) - {written}:
        with pytest.raises(ValueError, match="mistyped"):
            Token.parse(typo)


def test_a_token_is_not_shown_by_accident():
    shown = f"{TOKEN} {TOKEN!r} {TOKEN.keys()!r} {[TOKEN]}"

    assert TOKEN.written[7:20] not in shown
    assert "\\x01" not in shown


# The keys.

# RFC 5869, A.1 to A.3
VECTORS = [
    (
        b"\x0b" * 22,
        bytes(range(13)),
        bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)),
        bytes(range(0x60, 0xB0)),
        bytes(range(0xB0, 0x100)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        b"\x0b" * 22,
        b"",
        b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("secret", "salt", "info", "expected"), VECTORS)
def test_the_derivation_is_that_of_rfc_5869(secret, salt, info, expected):
    assert hkdf(secret, salt, info, len(expected) // 2).hex() == expected


def test_the_keys_come_of_the_token_and_differ():
    keys = TOKEN.keys()

    assert keys == TOKEN.keys()
    assert len({keys.manager, keys.worker, OTHER.keys().manager, OTHER.keys().worker, TOKEN.secret}) == 5
    assert {len(keys.manager), len(keys.worker)} == {32}


# Kept.


def test_a_token_is_kept_for_ourselves_alone(environ):
    umask = os.umask(0)
    try:
        path = write_token(TOKEN, PORT, environ)
    finally:
        os.umask(umask)

    assert path == token_file(PORT, environ)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert find_token(PORT, environ=environ) == (TOKEN, str(path))


def test_a_new_token_replaces_that_of_a_manager_that_was_killed(environ):
    write_token(OTHER, PORT, environ)
    path = write_token(TOKEN, PORT, environ)
    write_token(OTHER, PORT + 1, environ)

    assert find_token(PORT, environ=environ)[0] == TOKEN
    assert sorted(each.name for each in path.parent.iterdir()) == ["5115.token", "5116.token"]


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(environ, tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    path = write_token(OTHER, PORT, environ)
    path.unlink()
    path.symlink_to(target)

    write_token(TOKEN, PORT, environ)

    assert target.read_text() == "precious"
    assert not path.is_symlink()


def test_a_manager_removes_its_own_token_only(environ):
    path = write_token(TOKEN, PORT, environ)

    remove_token(OTHER, PORT, environ)
    assert path.exists()

    remove_token(TOKEN, PORT, environ)
    assert not path.exists()

    remove_token(TOKEN, PORT, environ)


def test_without_a_runtime_directory_there_is_one_in_tmp():
    assert str(token_file(PORT, {})) == f"/tmp/gaggle-{os.geteuid()}/5115.token"


@pytest.mark.parametrize("runtime", ["run", "/nowhere/at/all", ""])
def test_a_runtime_directory_that_is_none_is_not_used(runtime):
    assert token_file(PORT, {"XDG_RUNTIME_DIR": runtime}) == token_file(PORT, {})


def test_another_persons_runtime_directory_is_not_used(environ, monkeypatch):
    """su leaves the variable as it was."""
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)

    assert str(token_file(PORT, environ)) == "/tmp/gaggle-12345/5115.token"


def open_to_others(directory):
    directory.mkdir()
    directory.chmod(0o750)


def a_link(directory):
    (directory.parent / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to("elsewhere")


def a_file(directory):
    directory.write_text("")


@pytest.mark.parametrize("made", [open_to_others, a_link, a_file])
def test_a_directory_that_others_may_have_made_is_refused(made, environ, tmp_path):
    made(tmp_path / "gaggle")

    with pytest.raises(LoadTestError, match=re.escape(str(tmp_path / "gaggle"))):
        write_token(TOKEN, PORT, environ)
    with pytest.raises(LoadTestError, match=re.escape(str(tmp_path / "gaggle"))):
        find_token(PORT, environ=environ)


def test_a_directory_of_another_person_is_refused(environ, tmp_path, monkeypatch):
    path = write_token(TOKEN, PORT, environ)
    monkeypatch.setattr(joining, "_runtime_directory", lambda environ: path.parent)
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)

    with pytest.raises(LoadTestError, match="must belong to you alone"):
        find_token(PORT, environ=environ)


def test_a_directory_that_cannot_be_written_is_one_clear_line(environ, tmp_path):
    environ["XDG_RUNTIME_DIR"] = "/proc/self"  # ours, and nobody can make anything in it

    with pytest.raises(LoadTestError, match=r"^cannot write the join token to /proc/self/gaggle/5115.token: "):
        write_token(TOKEN, PORT, environ)


# Found.


def test_the_file_comes_before_the_variable_and_that_before_what_is_kept(environ, tmp_path):
    given = tmp_path / "token"
    given.write_text(TOKEN.written)
    kept = write_token(OTHER, PORT, environ)
    third = Token.make()

    found = [
        find_token(PORT, str(given), environ | {joining.VARIABLE: third.written}),
        find_token(PORT, None, environ | {joining.VARIABLE: third.written}),
        find_token(PORT, None, environ | {joining.VARIABLE: ""}),
    ]

    assert found == [(TOKEN, str(given)), (third, "GAGGLE_JOIN_TOKEN"), (OTHER, str(kept))]


def test_no_token_says_where_it_was_looked_for(environ):
    with pytest.raises(NoToken) as caught:
        find_token(PORT, environ=environ)

    assert "--join-token-file is not given" in str(caught.value)
    assert "GAGGLE_JOIN_TOKEN is not set" in str(caught.value)
    assert str(token_file(PORT, environ)) in str(caught.value)


def test_a_mistyped_variable_is_named_and_not_quoted(environ):
    typo = TOKEN.written[:-1] + "a"

    with pytest.raises(InvalidOption) as caught:
        find_token(PORT, environ=environ | {joining.VARIABLE: typo})

    detail = "GAGGLE_JOIN_TOKEN is mistyped: its last letters do not fit the others."
    assert (caught.value.option, caught.value.detail) == ("GAGGLE_JOIN_TOKEN", detail)
    assert TOKEN.written[7:20] not in str(caught.value)


FILES = [
    ("is not there", None, "No such file or directory."),
    ("is empty", b"", "must begin with gaggle-."),
    ("is binary", bytes(range(256)), "must begin with gaggle-."),
    ("is long", b"gaggle-" + b"a" * 100_000, "was it cut off?."),
]


@pytest.mark.parametrize(("case", "content", "reason"), FILES)
def test_a_file_that_has_no_token_is_named(case, content, reason, tmp_path, environ):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InvalidOption) as caught:
        find_token(PORT, str(path), environ, option="GAGGLE_JOIN_TOKEN_FILE")

    assert (caught.value.option, caught.value.value) == ("GAGGLE_JOIN_TOKEN_FILE", str(path))
    assert caught.value.detail.startswith(f"The token in {path}: ")
    assert caught.value.detail.endswith(reason)


def test_a_kept_file_that_is_spoiled_is_named(environ):
    path = write_token(TOKEN, PORT, environ)
    path.write_text("rubbish")

    with pytest.raises(LoadTestError, match=re.escape(f"{path}: must begin with gaggle-")):
        find_token(PORT, environ=environ)


# Told.


def test_the_command_for_another_machine_has_the_token_in_its_environment():
    line = join_command(TOKEN, "load tests/drupal.py", "10.0.0.7", PORT)

    variable, *words = shlex.split(line)
    assert variable == f"GAGGLE_JOIN_TOKEN={TOKEN.written}"
    assert words == [
        "gaggle",
        "load tests/drupal.py",
        "--worker",
        "--manager-host",
        "10.0.0.7",
        "--manager-port",
        "5115",
    ]
    assert TOKEN.written not in words


@pytest.mark.parametrize("host", ["10.0.0.7", "manager.local", "::1", "127.0.0.1"])
def test_what_a_manager_is_bound_to_is_how_others_reach_it(host):
    assert joining.address_for_others(host) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*", ""])
def test_a_manager_bound_to_all_addresses_has_one_that_others_can_use(host):
    assert joining.address_for_others(host) not in ("0.0.0.0", "::", "*", "")
