"""MLflow's server as a team runs it, over a PostgreSQL of its own, on loopback."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from tests.apps.server_process import free_port

# Debian keeps its programs out of the path.
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
ADMIN, PASSWORD = "admin", "only for this test"
_PATIENCE = 240


class Database:
    """A PostgreSQL in a folder of its own, listening on loopback."""

    def __init__(self):
        # Not below those that pytest makes for one user alone.
        self.port, self.folder = free_port(), Path(tempfile.mkdtemp(prefix="postgres-"))
        self.uri = f"postgresql+psycopg2://team@127.0.0.1:{self.port}/mlflow"
        # It refuses to run as root.
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self.folder, "postgres", "postgres")
        data = self.folder / "data"
        self._run("initdb", "-D", data, "-U", "team", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        words = [*self._as, BINARIES / "postgres", "-D", data, "-p", str(self.port), "-k", self.folder, "-F"]
        self.process = subprocess.Popen(words, cwd=self.folder, stderr=subprocess.DEVNULL)
        end = time.monotonic() + _PATIENCE
        while self._run("pg_isready", *self._where, check=False).returncode:
            assert time.monotonic() < end and self.process.poll() is None
            time.sleep(0.1)
        self.make("mlflow")

    @property
    def _where(self):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "team"]

    def make(self, name):
        """Makes a database and returns its address."""
        self._run("createdb", *self._where, name)
        return self.uri.replace("/mlflow", f"/{name}")

    def dump(self, name, file):
        """Writes a database as a file, as a backup does."""
        self._run("pg_dump", *self._where, "--format=custom", f"--file={file}", name)

    def restore(self, name, file):
        """Reads such a file into a database that is empty."""
        self._run("pg_restore", *self._where, "--no-owner", f"--dbname={name}", file)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_PATIENCE)
        shutil.rmtree(self.folder)

    def _run(self, program, *words, check=True):
        words = [*self._as, BINARIES / program, *words]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=_PATIENCE)
        assert not check or done.returncode == 0, done.stderr
        return done


class TeamServer:
    """`mlflow server` over a database, with users where there is a password, to be killed and started again."""

    def __init__(self, folder, store, *, users=None):
        self.folder, self.store, self.users, self.port = folder, store, users, free_port()
        self.folder.mkdir(exist_ok=True)
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store, "--workers", "1"]
        words += ["--artifacts-destination", self.folder / "artifacts", "--port", str(self.port)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_TRACKING")}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        if self.users:
            words += ["--app-name", "basic-auth"]
            settings = self.folder / "users.ini"
            # As in compose.yml.
            shown = {"default_permission": "READ", "auth_cache_ttl_seconds": 60, "database_uri": self.users}
            settings.write_text("\n".join(["[mlflow]", *(f"{key} = {value}" for key, value in shown.items())]))
            environment |= {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test"}
            environment |= {"MLFLOW_AUTH_ADMIN_USERNAME": ADMIN, "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD}
        log = self.folder / "log.txt"
        with log.open("a") as output:
            # A group of its own: its worker is a process besides.
            self.process = subprocess.Popen(
                words, cwd=self.folder, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            assert time.monotonic() < end and self.process.poll() is None, log.read_text()
            time.sleep(0.2)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_PATIENCE)

    def _answers(self):
        try:
            return requests.get(f"{self.address}/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False
