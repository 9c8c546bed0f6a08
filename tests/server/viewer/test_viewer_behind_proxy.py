"""The whole way through a reverse proxy that shows the server under a path: log in, open, run, submit."""

import http.client
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests
from tests.server.ohif_page import OhifPage, chromium
from tests.server.served_app import served
from tests.server.viewed_studies import JSON, LESION, MASK, write_picture

from breastkit.errors import BreastkitError
from breastkit.metrics.segmentation import dice
from breastkit.server.security.root_path import check_root_path
from breastkit.server.security.users import Users, set_user

ROOT = "/imaging/breast"
PASSWORD = "draws lesions"


@contextmanager
def proxied(target, *, strips):
    """Yields address and list of refused paths of a proxy that shows a server under `ROOT` and nothing beside it."""
    refused = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(f"{ROOT}/"):
                refused.append(self.path)
                self.respond(404, [], b"")
                return
            upstream = http.client.HTTPConnection(urlsplit(target).netloc, timeout=120)
            path = self.path.removeprefix(ROOT) if strips else self.path
            upstream.request(self.command, path, body, dict(self.headers))
            answer = upstream.getresponse()
            kept = [one for one in answer.getheaders() if one[0].lower() not in ("content-length", "transfer-encoding")]
            self.respond(answer.status, kept, answer.read())
            upstream.close()

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def respond(self, status, headers, content):
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}{ROOT}", refused
    finally:
        proxy.shutdown()
        proxy.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown")
    (folder / "studies").mkdir()
    write_picture(folder / "studies" / "us.dcm")
    set_user(str(folder / "users.json"), "anna", role="annotator", password=PASSWORD)
    users = Users(folder / "users.json")
    with served(folder / "studies", users=users, root_path=f"{ROOT}/") as (address, _):
        yield address


@pytest.mark.parametrize("strips", [True, False])
def test_addresses_lead_through_the_proxy(server, strips):
    with proxied(server, strips=strips) as (address, refused):
        session = requests.Session()
        asked = session.get(f"{address}/", headers={"Accept": "text/html"}, allow_redirects=False, timeout=60)
        assert asked.headers["location"] == f"{ROOT}/login"
        entered = session.post(f"{address}/login", data={"username": "anna", "password": PASSWORD}, timeout=60)
        assert entered.status_code == 200
        (cookie,) = session.cookies
        # Others on the same host do not get it.
        assert cookie.path == f"{ROOT}/"
        page = entered.text
        assert f'href="{ROOT}/ohif/"' in page
        assert f"<code>{address}/</code>" in page
        config = session.get(f"{address}/ohif/app-config.js", timeout=60).text
        assert f'"wadoRoot": "{ROOT}/dicom-web"' in config
        assert f'"routerBasename": "{ROOT}/ohif/"' in config
        (study,) = session.get(f"{address}/dicom-web/studies", headers=JSON, timeout=60).json()
        (retrieve,) = study["00081190"]["Value"]
        assert retrieve.startswith(f"{address}/dicom-web/studies/")
        assert session.get(f"{retrieve}/metadata", timeout=60).status_code == 200
        assert session.get(f"{address}/info/", timeout=60).status_code == 200
        assert not refused


@pytest.mark.slow
def test_the_viewer_works_behind_the_proxy(server):
    with proxied(server, strips=True) as (address, refused), chromium() as browser:
        page = OhifPage(browser, address)
        page.tab.goto(f"{address}/")
        page.tab.get_by_label("Name").fill("anna")
        page.tab.get_by_label("Password").fill(PASSWORD)
        page.tab.get_by_role("button", name="Log in").click()
        page.tab.get_by_role("link", name="US_1").click()
        page.wait_for_image()
        page.run_model(LESION)
        assert dice(page.overlay("lesion", page.labels()[0]), MASK) > 0.8
        assert page.submit()["version"] == 1
        assert page.failures == []
        assert set(refused) <= {"/favicon.ico"}


@pytest.mark.parametrize("path", ["breast", "/", "/a b", "/../x", "/x/./y", "//evil.example", '/"><script>'])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(BreastkitError, match="is no path"):
        check_root_path(path)
