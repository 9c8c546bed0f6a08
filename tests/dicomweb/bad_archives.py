"""Archives that refuse, are silent, or close in the middle: real servers on loopback, for tests of their clients."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def archive_that(behave):
    """Yields address and requests (method, path) of a server until the block ends.

    Args:
        behave: is given the handler of every request and how many there were before.
    """
    asked, ended = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            number = len(asked)
            asked.append((self.command, self.path))
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.ended = ended
            behave(self, number)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web", asked
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join(60)


def answers(status, told=None, **headers):
    """A request is answered with a status, and with JSON."""

    def behave(handler, _):
        body = b"" if told is None else json.dumps(told).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/dicom+json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def is_silent(handler, _):
    """A request is never answered."""
    handler.ended.wait(60)


def closes(handler, _):
    """The connection is closed when half of the answer is said."""
    handler.send_response(200)
    handler.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=b')
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"--b\r\nContent-Type: application/dicom\r\n\r\nhalf")


def one_by_one(*behaviours):
    """Requests are answered as these say in turn, all further ones as the last."""

    def behave(handler, number):
        behaviours[min(number, len(behaviours) - 1)](handler, number)

    return behave
