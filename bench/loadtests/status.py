"""The smallest answer there is: the task reads its status and one header. Over HTTPS too, by its host."""

from gaggle import User, task


class Visitor(User):
    @task
    async def front_page(self):
        response = await self.get("/")
        assert response.status == 200
        assert response.headers["content-type"] == "text/plain"
