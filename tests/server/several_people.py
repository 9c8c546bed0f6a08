"""A server that several people have logged in to, each with what they may do."""

import json
from contextlib import contextmanager

import cv2
import numpy as np
import requests
from tests.server.served_app import served

from breastkit.images import write_png
from breastkit.server.security.users import set_user

SHAPE = (40, 60)
USERS = {"anna": "annotator", "eva": "annotator", "ida": "annotator", "rita": "reviewer", "vera": "viewer"}


def write_users(path):
    """Writes a file with all of them and returns its path."""
    for name, role in USERS.items():
        set_user(str(path), name, role=role, password=password_of(name))
    return path


def password_of(name):
    return f"{name} knows it"


class People:
    """Everybody, logged in to one server."""

    def __init__(self, address, services):
        self.address, self.services = address, services
        self.headers = {}
        for name in USERS:
            login = {"username": name, "password": password_of(name)}
            token = requests.post(f"{address}/auth/token", data=login).json()["access_token"]
            self.headers[name] = {"Authorization": f"Bearer {token}"}

    def ask(self, who, method, path, **options):
        return requests.request(method, self.address + path, headers=self.headers[who], timeout=120, **options)

    def next(self, who, **params):
        answer = self.ask(who, "POST", "/activelearning/first", json=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def save(self, who, image, mask, tag="", **params):
        label = {"label": ("label.png", cv2.imencode(".png", mask)[1].tobytes())}
        path = f"/datastore/label?image={image}&tag={tag}"
        return self.ask(who, "PUT", path, files=label, data={"params": json.dumps(params)})

    def review(self, who, image, **decision):
        return self.ask(who, "POST", f"/readings/review?image={image}", json=decision)

    def mask(self, who, image, tag="final"):
        answer = self.ask(who, "GET", f"/datastore/label?label={image}&tag={tag}")
        assert answer.status_code == 200, answer.text
        return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)

    def work(self, who):
        return self.ask(who, "GET", "/readings/").json()


@contextmanager
def served_people(users, folder, **conf):
    """Yields everybody, at a server without models over two pictures."""
    for name in ("one", "two"):
        write_png(folder / "studies" / f"{name}.png", np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8))
    conf = {"no_models": "yes", "users": str(users), **conf}
    with served(folder / "studies", conf=conf) as (address, services):
        yield People(address, services)


def box(rows, columns=(10, 30)):
    found = np.zeros(SHAPE, np.uint8)
    found[rows[0] : rows[1], columns[0] : columns[1]] = 1
    return found
