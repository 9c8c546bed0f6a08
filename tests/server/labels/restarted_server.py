"""``breastkit serve`` as often as a test wants, each a process of its own, with the imports paid for once.

Run as a program it reads one list of words a line and forks: the child serves, the parent says its number and, when it
has ended, how.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parents[3]
_PATIENCE = 240


class RestartedServer:
    """The program, seen from the test.

    Args:
        words: what follows ``breastkit serve``.
        port: where it is to listen.
        folder: where it works.
    """

    def __init__(self, words, *, port, folder):
        self.words = ["serve", *words, "--port", str(port)]
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "server.log"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tools"}
        with self.log.open("w") as log:
            self.program = subprocess.Popen(
                [sys.executable, __file__], cwd=folder, env=environment, stderr=log, **pipes
            )

    def start(self):
        """Starts a server, waits until it answers, and returns the number of its process."""
        self.program.stdin.write(json.dumps(self.words) + "\n")
        self.program.stdin.flush()
        pid = int(self.program.stdout.readline())
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                if requests.get(f"{self.address}/auth/", timeout=5).status_code == 200:
                    return pid
            except requests.RequestException:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def ended(self):
        """Waits for the end of the server and returns its exit code, negative when a signal ended it."""
        return int(self.program.stdout.readline())

    def close(self):
        """Ends the program."""
        self.program.kill()
        self.program.communicate()


def main():
    """Serves as often as a line comes."""
    from breastkit.server.monailabel_fixes import prepare

    prepare()
    import monailabel.interfaces.utils.app  # noqa: F401

    import breastkit.server.application
    import breastkit.server.models.served_models
    from breastkit.cli import main as breastkit

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            # What the server says is not for the test that reads our answers.
            os.dup2(2, 1)
            os._exit(breastkit(json.loads(line)))
        print(pid, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
