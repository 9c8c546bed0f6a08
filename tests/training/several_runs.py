"""Runs several bundles one after the other in the processes of one torchrun, whose imports are paid for once."""

from __future__ import annotations

import json
import sys

from monai.bundle import run

if __name__ == "__main__":
    for options in json.loads(sys.argv[1]):
        run(**options)
