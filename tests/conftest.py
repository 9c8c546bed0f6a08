"""What holds for all tests."""

import os
import signal
import sys
from pathlib import Path

from absl import logging as absl_logging
from hypothesis import settings

# Weights that were promoted in this working folder are none of the tests' business; nor are bundles of one's own. Below
# a file no test can promote any by mistake.
# Nor is a registry of this working folder.
os.environ["BREASTKIT_REGISTRY"] = "none"
os.environ["BREASTKIT_MODELS"] = str(Path(__file__, "promoted"))
os.environ.pop("BREASTKIT_BUNDLES", None)

# A shell that starts a job in the background makes it ignore Ctrl-C, and so would every process the tests start: those
# that end by it would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Whoever configures logging anew, as uvicorn does, closes what absl writes to, unless that is stderr; to absl that is
# the file pytest had in its place when absl was imported, and without it pytest cannot go on.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

# `make test` draws the same examples every time, so that it fails for what was changed; `make test-all` draws new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items):
    """Puts the longest tests first, so that at the end no worker is left with them while the others wait."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
