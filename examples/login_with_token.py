"""An API with bearer tokens: each user asks for a token once, then uses it; who loses it signs in again.

`on_start` runs before the user's tasks. When it raises, as `raise_for_status` does, the tasks do not begin: it is tried
again after the wait.
"""

from __future__ import annotations

from gaggle import User, constant, on_start, task


class Member(User):
    wait_time = constant(0.2)
    headers = {"Accept": "application/json"}  # with every request

    @on_start(name="sign in")
    async def sign_in(self) -> None:
        name = f"user{self.random.randint(2, 5_001)}"
        response = await self.post("/api/token", json={"name": name, "password": "12345"})
        response.raise_for_status()
        self.headers["Authorization"] = f"Bearer {response.json()['token']}"
        self.name = name

    @task
    async def own_profile(self) -> None:
        response = await self.get("/api/profile")
        if response.ok and response.json()["name"] != self.name:
            response.fail(f"asked for the profile of {self.name}, got {response.json()['name']}")

    @task
    async def forgotten_token(self) -> None:
        """The API must say 401 to a visitor without a valid token: here that is a success."""
        await self.get("/api/profile", name="/api/profile (no token)", headers={"Authorization": "none"}, expect=401)
