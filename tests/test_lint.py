"""What looks at a change before it lands: `make lint`, and the same on every commit."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / ".pre-commit-config.yaml"


def test_the_hooks_are_the_commands_of_make_lint():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    commands = [line.strip().replace("$(PY)", ".venv/bin/python") for line in recipe.splitlines()]
    config = CONFIG.read_text(encoding="utf-8")
    assert re.findall(r"entry: (.*)", config) == commands
    assert re.findall(r"repo: (.*)", config) == ["local"]


def test_a_hook_runs_without_a_network_and_refuses_what_lint_refuses(tmp_path):
    """pre-commit itself, in a repository with one file, and no way to fetch anything."""
    shutil.copy(CONFIG, tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = os.environ | {"PRE_COMMIT_HOME": str(tmp_path / "cache"), "https_proxy": "http://127.0.0.1:9"}

    def run(*words):
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    def formatted(text):
        (tmp_path / "a.py").write_text(text)
        assert run("git", "add", "a.py").returncode == 0
        return run(sys.executable, "-m", "pre_commit", "run", "ruff-format")

    assert run("git", "init", "-q").returncode == 0
    refused, passed = formatted("x = {  }\n"), formatted("x = {}\n")
    assert refused.returncode == 1 and "would be reformatted" in refused.stdout
    assert passed.returncode == 0, passed.stdout
