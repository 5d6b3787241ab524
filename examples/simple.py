"""A first load test: visitors who look at the front page, three times as often at a page of news, and take their time.

gaggle examples/simple.py --host http://127.0.0.1:8080 --users 10 --run-time 30s
"""

from __future__ import annotations

from gaggle import User, between, task


class Visitor(User):
    wait_time = between(0.5, 2)  # seconds, after each task

    @task
    async def front_page(self) -> None:
        await self.get("/")

    @task(3)
    async def news(self) -> None:
        page = await self.get("/node/{id}", id=self.random.randint(1, 9_999))
        if "<h1>" not in page.text:
            page.fail("a page without a heading")
