"""The table of rules: every route has its row, every row its route, and the server does as the table says."""

import re
from pathlib import Path

import pytest
import requests
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from tests.server.served_app import served

from breastkit.dicom.write_us import write_us_dicom
from breastkit.images import write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.server.application import build_endpoints
from breastkit.server.security.rules import RULES, Rule, RuleTable
from breastkit.server.security.users import Role, Users, set_user
from breastkit.server.services import open_services

APP_README = Path(__file__).parents[3] / "apps" / "breast_monailabel" / "README.md"
PASSWORDS = {
    Role.VIEWER: "only looking",
    Role.ANNOTATOR: "draws lesions",
    Role.REVIEWER: "looks twice",
    Role.ADMIN: "runs the place",
}
# What there is in MONAI Label and not here, and what would change something if it came: for administrators until then.
NOT_LISTED = (("POST", "/reload/"), ("PUT", "/model/none"), ("DELETE", "/datastore/image"), ("POST", "/proxy/dicom"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Studies of both kinds, a page to show, and a user of every role."""
    place = tmp_path_factory.mktemp("ruled")
    phantom = make_us_phantom(5, 1)
    write_png(place / "files" / "us.png", phantom.image)
    write_us_dicom(place / "dicom" / "us.dcm", phantom.image, spacing=phantom.spacing, patient="US", uid_seed="rules")
    (place / "pages").mkdir()
    (place / "pages" / "index.html").write_text("results")
    for role, password in PASSWORDS.items():
        set_user(str(place / "users.json"), role.name.lower(), role=role.name.lower(), password=password)
    return place


def routes_of(router, prefix=""):
    """Yields method and path of every route of an application, mounted ones too."""
    for route in router.routes:
        if hasattr(route, "original_router"):
            yield from routes_of(route.original_router, prefix)
        elif isinstance(route, Mount) and isinstance(route.app, StaticFiles):
            yield "GET", f"{prefix}{route.path}/{{path:path}}"
        elif isinstance(route, Mount):
            yield from routes_of(route.app, prefix + route.path)
        else:
            assert isinstance(route, APIRoute | Route), route
            yield from ((method, prefix + route.path) for method in route.methods)


@pytest.fixture(scope="module")
def routes(place, tmp_path_factory):
    """Those of the three kinds of places; the DICOMweb address is not asked yet."""
    found = set()
    for studies in (place / "files", place / "dicom", "http://127.0.0.1:9/dicom-web"):
        conf = {"labels": str(tmp_path_factory.mktemp("labels")), "pages": str(place / "pages")}
        services = open_services(str(studies), conf)
        found |= set(routes_of(build_endpoints(services)))
        services.close()
    return found


def test_every_route_has_a_row(routes):
    assert ("PUT", "/datastore/label") in routes
    assert ("GET", "/dicom-web/studies/{study}/metadata") in routes
    of_get = {path for method, path in routes if method == "GET"}
    listed = {(rule.method, rule.path) for rule in RULES}
    # HEAD is GET without its body, and stands in the same row.
    assert {one for one in routes if one[0] != "HEAD"} <= listed
    assert {path for method, path in routes if method == "HEAD"} <= of_get


def test_every_row_has_a_route(routes):
    assert {(rule.method, rule.path) for rule in RULES} - routes == {("GET", "/favicon.ico")}


@pytest.fixture(scope="module")
def server(place, tmp_path_factory):
    conf = {"labels": str(tmp_path_factory.mktemp("labels")), "pages": str(place / "pages")}
    with served(place / "dicom", conf=conf, users=Users(place / "users.json")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def headers(server):
    return logged_in(server)


def logged_in(server):
    """Returns headers with a token of every role."""
    found = {}
    for role, password in PASSWORDS.items():
        login = {"username": role.name.lower(), "password": password}
        token = requests.post(f"{server}/auth/token", data=login).json()["access_token"]
        found[role] = {"Authorization": f"Bearer {token}"}
    return found


def asked_by_all(server, headers, method, path):
    """Returns the status that every role gets, and who has not logged in."""
    # Without what they need, so that nothing happens behind the door.
    url = server + re.sub(r"{[^}]*}", "none", path)
    given = {role: requests.request(method, url, headers=one).status_code for role, one in headers.items()}
    return {**given, None: requests.request(method, url).status_code}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_every_endpoint_is_for_whom_it_is_meant(server, headers, rule):
    # Logging out ends the tokens that are sent.
    sent = logged_in(server) if rule.path == "/auth/logout" else headers
    asked = asked_by_all(server, sent, rule.method, rule.path)
    if rule.role is None:
        assert 403 not in asked.values()
    else:
        assert asked.pop(None) == 401
        assert {role: status == 403 for role, status in asked.items()} == {role: role < rule.role for role in Role}


@pytest.mark.parametrize(("method", "path"), NOT_LISTED)
def test_what_stands_in_no_row_is_for_administrators(server, headers, method, path):
    asked = asked_by_all(server, headers, method, path)
    assert [asked[role] for role in (None, Role.VIEWER, Role.ANNOTATOR)] == [401, 403, 403]
    assert asked[Role.ADMIN] in (404, 405)


def test_who_only_looks_is_told_that_nothing_is_there(server, headers):
    asked = asked_by_all(server, headers, "GET", "/nowhere")
    assert asked == {None: 401, **dict.fromkeys(Role, 404)}


def test_a_viewer_changes_nothing_that_lasts():
    may_change = {rule.path for rule in RULES if rule.writes and (rule.writes_from or rule.role) in (None, Role.VIEWER)}
    assert may_change == {"/session/", "/session/{session_id}"}
    assert not [rule for rule in RULES if rule.method == "GET" and rule.writes]


def test_a_path_is_open_or_is_not():
    opened = {rule.path for rule in RULES if rule.role is None}
    assert not [rule for rule in RULES if rule.path in opened and rule.role is not None]


def test_one_row_is_all_that_a_rule_costs():
    table = RuleTable([*RULES, Rule("POST", "/exports/{model}", Role.ANNOTATOR, writes="a model", largest=2**10)])
    assert RULES.role_for("POST", "/exports/x") is Role.ADMIN
    assert table.role_for("POST", "/exports/x") is Role.ANNOTATOR
    assert table.largest_at("/exports/x") == 2**10
    assert table.endpoint_of("/exports/x") == ("/exports/{model}", {"model": "x"})
    assert table.find("POST", "/exports/x/y") is None


def test_logins_are_small_and_counted():
    logins = [rule for rule in RULES if rule.is_login]
    assert {(rule.method, rule.path) for rule in logins} == {("POST", "/auth/token"), ("POST", "/login")}
    # Whatever the method: nobody has logged in yet who sends one, and none may take the turn of an upload.
    assert {RULES.largest_at(rule.path) for rule in RULES if rule.role is None} == {2**14}
    assert RULES.largest_at("/datastore/label") is None


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/info/", "/info/"),
        ("/info", "/info/"),
        ("/infer/x", "/infer/{model}"),
        ("/infer/x/y", "other"),
        ("/ohif/a/b", "/ohif/{path:path}"),
        ("/infer.x", "other"),
        ("/dicom-web/studies/1.2/series/3/metadata", "/dicom-web/studies/{study}/series/{series}/metadata"),
        ("/dicom-web/elsewhere", "/dicom-web/{path:path}"),
    ],
)
def test_addresses_are_told_by_their_endpoint(path, template):
    assert RULES.endpoint_of(path)[0] == template


def test_head_and_options_ask_for_what_get_does():
    for method in ("GET", "HEAD", "OPTIONS"):
        assert RULES.find(method, "/info/") is RULES.find("GET", "/info/")
        assert RULES.role_for(method, "/login") is None


def test_the_readme_says_what_is_written_by_whom():
    text = APP_README.read_text(encoding="utf-8")
    told = re.findall(r"^\| `([A-Z]+) (/[^`]*)` \| (\w+) \| (.*) \|$", text, flags=re.MULTILINE)
    assert told == [(rule.method, rule.path, rule.role.name.lower(), rule.writes) for rule in RULES if rule.writes]
