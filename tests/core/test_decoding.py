"""Encoded bodies, decoded as they are read: whole, in pieces, and no more of them than may be kept."""

from __future__ import annotations

import gzip
import itertools
import random
import zlib

import brotli
import pytest

from gaggle._core import Decoder, DecodingError

ENCODERS = {
    "gzip": lambda body: gzip.compress(body, mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
}
BODIES = {
    "text": b"goose " * 700,
    "zeros": bytes(300_000),
    "noise": random.Random(1).randbytes(5_000),
    "one byte": b"x",
    "nothing": b"",
}

AT_ONCE = 4_096  # bytes of a stream that are decoded in one go


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_decoded_up_to_the_limit_and_the_rest_counted(encoding: str, name: str) -> None:
    body = BODIES[name]
    encoded = ENCODERS[encoding](body)

    for most in (0, 1, 10, 257, 258, 4_095, 4_096, 65_535, 65_536, 65_537, len(body) - 1, len(body), len(body) + 1):
        if most >= 0:
            assert Decoder(encoding).decode_all(encoded, most) == (body[:most], max(0, len(body) - most)), most


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("name", BODIES)
def test_a_body_means_the_same_in_any_pieces(encoding: str, name: str) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    luck = random.Random(seed)
    encoded = ENCODERS[encoding](BODIES[name])

    for _ in range(5):
        cuts = [0, *sorted(luck.choices(range(len(encoded) + 1), k=20)), len(encoded)]
        pieces = [encoded[start:end] for start, end in itertools.pairwise(cuts)]

        assert decoded(encoding, pieces) == BODIES[name]


def decoded(encoding: str, pieces: list[bytes]) -> bytes:
    decoder, found = Decoder(encoding), []
    for piece in pieces:
        found.append(decoder.decode(piece, AT_ONCE))
        while more := decoder.rest(AT_ONCE):
            found.append(more)
    return b"".join(found)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_bytes_behind_the_end_are_an_error_in_any_pieces(encoding: str) -> None:
    encoded = ENCODERS[encoding](b"goose " * 100)

    for pieces in ([encoded + b"more"], [encoded, b"more"], [encoded + b"m", b"ore"]):
        with pytest.raises(DecodingError):
            decoded(encoding, pieces)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_an_end_that_is_missing_is_not_missed(encoding: str) -> None:
    """As in libcurl and browsers."""
    body = random.Random(2).randbytes(10_000)
    encoded = ENCODERS[encoding](body)

    for size in (0, 1, 100, len(encoded) - 5):
        found, dropped = Decoder(encoding).decode_all(encoded[:size], 1 << 20)

        assert body.startswith(found)
        assert dropped == 0


def test_a_body_that_was_encoded_twice_is_decoded_twice() -> None:
    body = b"goose " * 1_000

    assert Decoder("gzip, br").decode_all(brotli.compress(gzip.compress(body)), 10_000) == (body, 0)


def test_deflate_without_its_head_is_understood() -> None:
    """What some servers send for deflate: RFC 9110, 8.4.1.2."""
    encoder = zlib.compressobj(wbits=-15)
    encoded = encoder.compress(b"goose " * 100) + encoder.flush()

    assert Decoder("deflate").decode_all(encoded, 10_000) == (b"goose " * 100, 0)
    with pytest.raises(DecodingError):
        Decoder("gzip").decode_all(encoded, 10_000)


def test_too_many_encodings_and_unknown_ones_are_refused() -> None:
    with pytest.raises(DecodingError):
        Decoder("gzip, gzip, gzip, gzip, gzip, gzip")
    with pytest.raises(DecodingError):
        Decoder("goose")
    assert Decoder(" , identity, NONE ,").decode_all(b"goose", 5) == (b"goose", 0)
