"""Users who ask once and then wait, each with a connection that stays open."""

from gaggle import User, constant, task


class Visitor(User):
    wait_time = constant(3600)

    @task
    async def front_page(self):
        response = await self.get("/")
        assert response.status == 200
