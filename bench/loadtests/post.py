"""A JSON body out, a JSON answer in, parsed."""

from gaggle import User, task

ORDER = {"user": 17, "items": [{"id": 3, "count": 2}, {"id": 8, "count": 1}], "note": "a goose, boxed"}


class Visitor(User):
    @task
    async def order(self):
        response = await self.post("/json", json=ORDER)
        assert response.json()["accepted"]
