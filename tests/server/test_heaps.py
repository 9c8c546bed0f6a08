"""How many heaps the threads of a server share, counted by glibc itself in a process of their own."""

import re
import subprocess
import sys

import pytest

# Threads that live at once and allocate little, which glibc takes from heaps.
ALLOCATE = """
import ctypes, threading
from breastkit.server.heaps import share_heaps

{call}
together = threading.Barrier(6)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_stats()
"""


def heaps_of(call):
    ran = subprocess.run([sys.executable, "-c", ALLOCATE.format(call=call)], capture_output=True, text=True, check=True)
    return len(re.findall(r"^Arena \d+:", ran.stderr, re.MULTILINE))


def test_threads_share_two_heaps():
    if not (without := heaps_of("")):
        pytest.skip("this C library does not count heaps")
    assert without > 2
    assert heaps_of("share_heaps()") == 2
