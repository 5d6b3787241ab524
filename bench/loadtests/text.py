"""10 KB of text, decoded."""

from gaggle import User, task


class Visitor(User):
    @task
    async def page(self):
        response = await self.get("/text")
        assert response.text.endswith("geese\n")
