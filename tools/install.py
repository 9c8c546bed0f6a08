"""Installs packages into the environment of the Python that runs it: by uv where that is there, by pip otherwise.

uv is several times faster than pip, but does not read pip's configuration. A machine's index, links, certificate and
proxy are asked of pip here and told to uv, so that whoever made pip work here need not do it again.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable

# What pip calls a setting, and what uv takes for it: an option for each value, or a variable.
OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
    "keyring-provider": "--keyring-provider",
}
VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
# pip takes the best version of all indexes, uv that of the first one that has any.
# And it compiles what it installs: where Python may write no bytecode every start would compile MONAI and torch anew.
LIKE_PIP = ["--index-strategy", "unsafe-best-match", "--compile-bytecode"]


def uv_settings(pip_settings: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Returns options and variables that make uv do what pip is configured to do.

    Args:
        pip_settings: the lines of ``pip config list``, for example ``global.index-url='https://example.org/simple'``.
    """
    found: dict[str, str] = {}
    for line in pip_settings:
        name, equals, value = line.strip().partition("=")
        section, _, key = name.rpartition(".")
        # Variables are listed first and yet win over files; what is set for installing wins over what is for all.
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section)
        if equals and rank is not None and rank >= int(found.get(f"rank of {key}", "0")):
            found |= {key: str(ast.literal_eval(value)), f"rank of {key}": str(rank)}
    options = [word for key, option in OPTIONS.items() for one in found.get(key, "").split() for word in (option, one)]
    if found.get("no-index", "0").lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")
    return options, {variable: found[key] for key, variable in VARIABLES.items() if key in found}


def command_for(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the command that installs, and the variables it needs.

    Args:
        words: what comes after ``pip install``: packages and the options that pip and uv have in common.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if importlib.util.find_spec("uv") is None:
        # Twice quiet: a machine's own configuration can cause hundreds of warnings that nobody here can act on.
        return [*pip, "install", "--quiet", "--quiet", "--progress-bar", "off", *words], {}
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=True).stdout
    options, variables = uv_settings(listed.splitlines())
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    # Beside the packages, which are links into it then: nothing is written into the home folder or copied.
    cache = {"UV_CACHE_DIR": os.path.join(sys.prefix, ".uv-cache")}  # noqa: PTH118
    return [*uv, *LIKE_PIP, *options, *words], {**cache, **variables}


if __name__ == "__main__":
    command, variables = command_for(sys.argv[1:])
    sys.exit(subprocess.run(command, env={**variables, **os.environ} | {"VIRTUAL_ENV": sys.prefix}).returncode)
