"""As status.py, with many requests a task: what a request costs by itself, and not the task around it."""

from gaggle import User, task


class Visitor(User):
    @task
    async def front_pages(self):
        for _ in range(100):
            response = await self.get("/")
            assert response.status == 200
            assert response.headers["content-type"] == "text/plain"
