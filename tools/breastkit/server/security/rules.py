"""Who may ask what: one table of every endpoint, from which access control, limits of requests and the audit log read.

What a rule costs: **one row of** `RULES`. For an endpoint that annotators may ask, with requests of a kilobyte at most,
that is

    Rule("POST", "/exports/{model}", Role.ANNOTATOR, writes="an exported model", largest=2**10),

and nothing else: the role is asked for, a larger request is refused, and the audit log says ``/exports/{model}``. A
route of the application without a row fails ``tests/server/security/test_rules.py``, which also asks a server as every
role; until it has one, it is for administrators if it changes something. What is written stands in the app's README.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from breastkit.server.security.users import Role

OTHER = "other"
# What only looks; HEAD and OPTIONS ask for less than GET does.
_READING = ("GET", "HEAD", "OPTIONS")
_LOGIN_BYTES = 2**14
_STORED = "DICOM objects, segmentations as labels"


@dataclass(frozen=True)
class Rule:
    """What is asked of a request to one endpoint.

    Attributes:
        method: HTTP's; what is said of GET is said of HEAD and OPTIONS too.
        path: as OpenAPI writes it, ``/infer/{model}``; ``{path:path}`` stands for the rest of an address.
        role: that a user has at least; None for anybody, before logging in.
        writes: what is kept of it beside caches and the audit log; empty for nothing.
        writes_from: the role from which on that is kept, where it is more than the request itself needs; the endpoint
            asks `breastkit.server.security.access.refuse_to_write`.
        largest: bytes of a request, where less than `Limits` says is allowed.
        by_link: whether a link opens it too, as `breastkit.server.security.download_links` makes them.
        is_login: whether it also counts among the logins of a minute.
    """

    method: str
    path: str
    role: Role | None
    writes: str = ""
    writes_from: Role | None = None
    largest: int | None = None
    is_login: bool = False
    by_link: bool = False


class RuleTable:
    """Finds the rule of a request.

    Args:
        rules: of the paths that fit an address, the first one counts.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._of_path: dict[str, dict[str, Rule]] = {}
        for rule in self._rules:
            self._of_path.setdefault(rule.path, {})[rule.method] = rule
        self._patterns = [(re.compile(_pattern_of(path)), path) for path in self._of_path]

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def endpoint_of(self, path: str) -> tuple[str, dict[str, str]]:
        """Returns of which endpoint an address is, as the table writes it, and the parts that it names."""
        for pattern, template in self._patterns:
            if match := pattern.fullmatch(path):
                return template, match.groupdict()
        return OTHER, {}

    def find(self, method: str, path: str) -> Rule | None:
        """Returns the rule of a request, None if there is none."""
        return self._at(path).get("GET" if method in _READING else method)

    def role_for(self, method: str, path: str) -> Role | None:
        """Returns the role that a request needs, None where nobody has to log in."""
        if any(rule.role is None for rule in self._at(path).values()):
            return None
        rule = self.find(method, path)
        if rule is not None:
            return rule.role
        # Nothing answers there: who may look is told so, and whatever would change something is for administrators.
        return Role.VIEWER if method in _READING else Role.ADMIN

    def largest_at(self, path: str) -> int | None:
        """Returns how many bytes a request to an address may have, whatever its method; None for the general limit."""
        return min((rule.largest for rule in self._at(path).values() if rule.largest is not None), default=None)

    def _at(self, path: str) -> dict[str, Rule]:
        return self._of_path.get(self.endpoint_of(path)[0], {})


def _pattern_of(path: str) -> str:
    parts = re.split(r"\{(\w+)(:path)?\}", path.rstrip("/") if path != "/" else "")
    pattern = re.escape(parts[0])
    for name, rest, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.*' if rest else '[^/]+'}){re.escape(literal)}"
    return f"{pattern}/?"


_STUDY = "/dicom-web/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{uid}}"
_LOOKED_AT = (
    "/",
    "/info/",
    "/openapi.json",
    "/datastore/",
    "/datastore/image/info",
    "/datastore/layout",
    "/datastore/candidates",
    "/datastore/label",
    "/datastore/label/info",
    "/datastore/label/versions",
    "/session/{session_id}",
    "/readings/",
    "/readings/image",
    "/train/",
    "/scoring/",
    "/ohif",
    "/ohif/{path:path}",
    "/results/{path:path}",
)  # fmt: skip
_LOOKED_AT_AS_DICOM = (
    "/dicom-web/studies",
    "/dicom-web/series",
    "/dicom-web/instances",
    _STUDY,
    f"{_STUDY}/metadata",
    f"{_STUDY}/series",
    f"{_STUDY}/instances",
    _SERIES,
    f"{_SERIES}/metadata",
    f"{_SERIES}/thumbnail",
    f"{_SERIES}/instances",
    _INSTANCE,
    f"{_INSTANCE}/metadata",
    f"{_INSTANCE}/rendered",
    f"{_INSTANCE}/thumbnail",
    f"{_INSTANCE}/frames/{{numbers}}",
    f"{_INSTANCE}/frames/{{number}}/rendered",
    "/dicom-web/openapi.json",
)

RULES = RuleTable(
    (
        Rule("GET", "/auth/", None, largest=_LOGIN_BYTES),
        Rule("POST", "/auth/token", None, largest=_LOGIN_BYTES, is_login=True),
        Rule("GET", "/auth/token/valid", None, largest=_LOGIN_BYTES),
        # Open, as a token that has ended by itself may be sent.
        Rule("POST", "/auth/logout", None, largest=_LOGIN_BYTES),
        Rule("GET", "/login", None, largest=_LOGIN_BYTES),
        Rule("POST", "/login", None, largest=_LOGIN_BYTES, is_login=True),
        # There is none; browsers ask for it before anybody has logged in.
        Rule("GET", "/favicon.ico", None, largest=_LOGIN_BYTES),
        *(Rule("GET", path, Role.VIEWER) for path in _LOOKED_AT),
        Rule("GET", "/datastore/image", Role.VIEWER, by_link=True),
        Rule(
            "POST",
            "/infer/{model}",
            Role.VIEWER,
            writes="a model's own label, where an annotator asks for it with `save_label`",
            writes_from=Role.ANNOTATOR,
        ),
        Rule("GET", "/batch/infer", Role.VIEWER),
        Rule("POST", "/batch/infer/{model}", Role.ADMIN, writes="a model's own labels of many images"),
        Rule("DELETE", "/batch/infer", Role.ADMIN, writes="the end of a batch"),
        Rule("GET", "/datastore/dataset", Role.ANNOTATOR),
        Rule("GET", "/logs/", Role.ADMIN),
        Rule(
            "POST",
            "/activelearning/{strategy}",
            Role.VIEWER,
            writes="whose the image is for a time, where an annotator asks",
            writes_from=Role.ANNOTATOR,
        ),
        Rule("PUT", "/readings/assignment", Role.REVIEWER, writes="whose an image is for a time"),
        Rule("POST", "/readings/review", Role.REVIEWER, writes="what a reviewer decides on a label"),
        Rule("GET", "/agreement/", Role.REVIEWER),
        Rule("PUT", "/session/", Role.VIEWER, writes="an image that is lent, for an hour"),
        Rule("DELETE", "/session/{session_id}", Role.VIEWER, writes="the end of a lent image"),
        Rule("PUT", "/datastore/", Role.ANNOTATOR, writes="a new image"),
        Rule("PUT", "/datastore/image", Role.ANNOTATOR, writes="a new image"),
        Rule("PUT", "/datastore/label", Role.ANNOTATOR, writes="a label, as its next version"),
        Rule("PUT", "/datastore/candidates", Role.ANNOTATOR, writes="a candidate, kept or rejected", largest=2**12),
        Rule("PUT", "/datastore/label/info", Role.ANNOTATOR, writes="what is said of a label, as its next version"),
        Rule("DELETE", "/datastore/label", Role.ADMIN, writes="the end of a label, whose versions stay"),
        Rule("POST", "/datastore/label/restoration", Role.ADMIN, writes="a deleted label again"),
        Rule("POST", "/train/", Role.ANNOTATOR, writes="a version of a model"),
        Rule("POST", "/train/{model}", Role.ANNOTATOR, writes="a version of a model"),
        Rule("POST", "/train/{model}/confirmation", Role.ADMIN, writes="a version of a model that waited for it"),
        Rule("DELETE", "/train/", Role.ANNOTATOR, writes="the end of a training"),
        Rule("POST", "/scoring/", Role.ANNOTATOR, writes="what was measured"),
        Rule("POST", "/scoring/{method}", Role.ANNOTATOR, writes="what was measured"),
        Rule("DELETE", "/scoring/", Role.ANNOTATOR, writes="the end of a scoring"),
        *(Rule("GET", path, Role.VIEWER) for path in _LOOKED_AT_AS_DICOM),
        Rule("POST", "/dicom-web/studies", Role.ANNOTATOR, writes=_STORED),
        Rule("POST", _STUDY, Role.ANNOTATOR, writes=_STORED),
        # What is passed on to another server and stands in no row above.
        Rule("GET", "/dicom-web/{path:path}", Role.VIEWER),
        Rule("POST", "/dicom-web/{path:path}", Role.ADMIN),
    )
)
