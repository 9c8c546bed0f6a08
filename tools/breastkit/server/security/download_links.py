"""Names of images that open their download for some minutes to who has no token at hand.

3D Slicer logs in, asks for the next image with its token, and downloads it without: all that reaches the server again
is the image's name as the answer gave it. So the answer gives ``NAME?for=USER&until=SECONDS&seal=CODE``; wherever an
image is named the rest is left aside.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time

_KEY_BYTES = 32
# A link is good for one to two of these; within one of them the same image has the same name.
_SECONDS = 600
_LINK = re.compile(
    r"(?P<image>.+)\?for=(?P<user>[A-Za-z0-9._-]{1,64})&until=(?P<until>[0-9]{1,12})&seal=(?P<seal>[0-9a-f]{64})"
)


class DownloadLinks:
    """Makes links and knows its own; those of before are worth nothing after a restart."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(_KEY_BYTES)

    def link(self, image: str, user: str) -> str:
        """Returns the name of an image as a link for a user."""
        until = (int(time.time()) // _SECONDS + 2) * _SECONDS
        return f"{image}?for={user}&until={until}&seal={self._seal(image, user, until)}"

    def user_of(self, name: str) -> str | None:
        """Returns for whom the name of an image opens it, None if it is no link or too old."""
        match = _LINK.fullmatch(name)
        if match is None or int(match["until"]) < time.time():
            return None
        seal = self._seal(match["image"], match["user"], int(match["until"]))
        return match["user"] if hmac.compare_digest(seal, match["seal"]) else None

    def _seal(self, image: str, user: str, until: int) -> str:
        said = "\0".join((user, str(until), image))
        return hmac.new(self._key, said.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def without_link(name: str) -> str:
    """Returns the name of an image, without what makes it a link."""
    match = _LINK.fullmatch(name)
    return match["image"] if match else name
