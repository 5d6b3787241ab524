"""What status.py, text.py and post.py do, for Locust: the class is chosen on its command line."""

from locust import FastHttpUser, task

ORDER = {"user": 17, "items": [{"id": 3, "count": 2}, {"id": 8, "count": 1}], "note": "a goose, boxed"}


class Status(FastHttpUser):
    @task
    def front_page(self):
        response = self.client.get("/")
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/plain"


class Text(FastHttpUser):
    @task
    def page(self):
        response = self.client.get("/text")
        assert response.text.endswith("geese\n")


class Post(FastHttpUser):
    @task
    def order(self):
        response = self.client.post("/json", json=ORDER)
        assert response.json()["accepted"]
