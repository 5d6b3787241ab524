"""Bodies of requests and responses in a whole run: files, forms, streams of a task, and how much is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import Result
from sites import Server

RunGaggle = Callable[..., Result]

ALL_AT_ONCE = ("--hatch-rate", 1000, "--no-reset-metrics")

UPLOADER = """
    import hashlib, pathlib

    PICTURE = pathlib.Path(__file__).with_name("goose.png")
    DIGEST = hashlib.sha256(PICTURE.read_bytes()).hexdigest()

    class Uploader(User):
        async def pieces(self):
            for number in range(10):
                await asyncio.sleep(0.001)
                yield bytes([number]) * 10_000

        @task
        async def upload(self):
            with PICTURE.open("rb") as picture:
                parts = (await self.post("/upload", data={"title": "A goose"}, files={"picture": picture})).json()
            assert [(part["name"], part["filename"]) for part in parts] == [("title", None), ("picture", "goose.png")]
            assert parts[1]["sha256"] == DIGEST
            with PICTURE.open("rb") as picture:
                assert (await self.put("/post", data=picture, name="file")).json()["sha256"] == DIGEST
            assert (await self.post("/post", data=self.pieces(), name="pieces")).json()["bytes"] == 100_000
            found = await asyncio.gather(*(self.post("/json", json={"n": n}, name="json") for n in range(10)))
            assert [response.json()["n"] for response in found] == list(range(10))
            self.stop()
"""


@pytest.mark.parametrize("lane", ["auto", "libcurl"])
def test_files_forms_and_streams_arrive_and_are_counted(
    run_gaggle: RunGaggle, server: Server, tmp_path: Path, lane: str
) -> None:
    picture = hashlib.shake_256(b"goose").digest(200_000)
    (tmp_path / "goose.png").write_bytes(picture)

    result = run_gaggle(UPLOADER, "-u", 3, "--lane", lane, *ALL_AT_ONCE)

    assert result.returncode == 0, result
    assert result.task("Uploader", "upload").failures == 0, result.stderr
    assert {row.name: row.answered for row in result.requests} == {"/upload": 3, "file": 3, "pieces": 3, "json": 30}
    assert 200_000 * 3 < result.request("PUT file").bytes_out < 210_000 * 3
    assert 100_000 * 3 < result.request("POST pieces").bytes_out < 110_000 * 3
    assert server.seen().body_bytes > 3 * (200_000 + 200_000 + 100_000)


def test_no_more_of_a_body_is_kept_than_max_body(run_gaggle: RunGaggle, server: Server) -> None:
    result = run_gaggle(
        """
        class Visitor(User):
            @task
            async def visit(self):
                for url in ("/bytes?n=100000", "/gzip?n=100000", "/chunked?n=100000&piece=5000"):
                    response = await self.get(url)
                    assert response.ok and len(response.body) == 2048 and response.dropped == 100000 - 2048
                assert len((await self.get("/bytes?n=2048", name="short")).body) == 2048
                assert len(await (await self.get("/bytes?n=100000", name="stream", stream=True)).read()) == 100000
                self.stop()
        """,
        *("-u", 1, "--max-body", "2KiB", *ALL_AT_ONCE),
    )

    assert result.returncode == 0, result
    assert result.task("Visitor", "visit").failures == 0, result.stderr
    assert result.request("GET /bytes").bytes_in > 100_000, "all of it came"
    assert server.seen().total == 5
