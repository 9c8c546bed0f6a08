import os
import subprocess
import sys

CODE = """
import os, cv2, PIL.Image, torch
from breastkit.detection.ultralytics_offline import ultralytics_module
before = PIL.Image.open, torch.save, cv2.getNumThreads(), dict(os.environ)
for name in ("ultralytics.nn.tasks", "ultralytics.utils.loss", "ultralytics.utils.patches"):
    ultralytics_module(name)
assert (PIL.Image.open, torch.save, cv2.getNumThreads(), dict(os.environ)) == before
"""


def test_nothing_outside_ultralytics_changes(tmp_path):
    """In a process of its own, since only the first import does all it does."""
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env={**os.environ, **home}, cwd=tmp_path
    )
    assert process.returncode == 0, process.stderr
    assert not [path for path in tmp_path.rglob("*") if "ultralytics" in path.name.lower()]
