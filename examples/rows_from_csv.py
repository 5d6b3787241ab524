"""Users with names of their own: each one takes the next row of users.csv and signs in as that person.

With `once=True` no row is handed out twice, over all engines and machines; a user that finds no row left ends. The path
is relative to this file.
"""

from __future__ import annotations

from gaggle import User, constant, feed, on_start, task


class Reader(User):
    people = feed("users.csv", once=True)
    wait_time = constant(0.1)

    @on_start(name="sign in")
    async def sign_in(self) -> None:
        person = self.people.next()
        response = await self.post("/api/token", json={"name": person["name"], "password": person["password"]})
        response.raise_for_status()
        self.headers["Authorization"] = f"Bearer {response.json()['token']}"
        self.pages = [int(page) for page in person["pages"].split()]

    @task(3)
    async def read(self) -> None:
        await self.get("/node/{id}", id=self.random.choice(self.pages))

    @task
    async def own_profile(self) -> None:
        await self.get("/api/profile")
