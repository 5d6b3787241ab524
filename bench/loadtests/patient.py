"""Users who wait before they ask for anything."""

from gaggle import User, on_start, task


class Visitor(User):
    @on_start
    async def wait_first(self):
        await self.pause(3600)

    @task
    async def front_page(self):
        await self.get("/")
