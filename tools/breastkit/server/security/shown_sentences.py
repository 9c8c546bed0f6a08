"""Sentences as clients are shown them: names of files, never the folders of this machine."""

from __future__ import annotations

import re

# A folder of this machine at least, and the name after it; addresses and paths of the server have another beginning.
_FOLDERS = re.compile(r"(?<![\w.:/~-])/(?:[^/\s'\",;()]+/)+(?=[^/\s'\",;()])")


def without_folders(sentence: str, *folders: object) -> str:
    """Returns a sentence in which files have their names alone.

    Args:
        sentence: what is to be said.
        folders: known ones, which are found although their names hold spaces.
    """
    for folder in sorted(map(str, folders), key=len, reverse=True):
        if folder.startswith("/") and folder != "/":
            sentence = re.sub(rf"{re.escape(folder.rstrip('/'))}/(?:[^/\n'\",;()]+/)*", "", sentence)
    return _FOLDERS.sub("", sentence)
