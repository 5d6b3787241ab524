"""What a long run meets: 200 names, errors of every kind, connections that end, cookies, cuts, streams."""

import asyncio

from gaggle import User, task

NAMES = 200
NOBODY = "http://127.0.0.1:9"  # the discard service, which nobody runs any more


class Visitor(User):
    session = "pass"  # a new visitor with each pass: no cookies, no connections

    @task(100)
    async def page(self):
        number = self.random.randrange(NAMES)
        response = await self.get(f"/page/{number}", params={"visit": self.random.random()}, name=f"page {number}")
        assert response.text

    @task(20)
    async def form(self):
        response = await self.post("/json", data={"number": str(self.random.random()), "text": "geese" * 40})
        assert response.json()["accepted"]

    @task(10)
    async def missing(self):
        await self.get(f"/missing/{self.random.randrange(NAMES)}", name="missing")

    @task(5)
    async def hung_up(self):
        await self.get("/hang-up")

    @task(5)
    async def redirected(self):
        await self.get("/redirect")

    @task(5)
    async def in_parallel(self):
        await asyncio.gather(*[self.get("/", headers={"X-Number": str(number)}) for number in range(8)])

    @task(5)
    async def cut(self):
        try:
            async with asyncio.timeout(0.0002):
                await self.get("/text", name="cut")
        except TimeoutError:
            pass

    @task(5)
    async def streamed(self):
        async with await self.get("/text", stream=True, name="streamed") as response:
            async for _ in response:
                break

    @task(2)
    async def broken(self):
        raise ValueError(f"a bug, number {self.random.randrange(20)}")

    @task(1)
    async def nobody_there(self):
        await self.get(NOBODY, name="nobody there")
