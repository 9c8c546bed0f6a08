"""What holds for all tests."""

import signal

# A shell that starts a job in the background makes it ignore Ctrl-C, and so would every process the tests start: those
# that end by it would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Puts the longest tests first, so that at the end no worker is left with them while the others wait."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
