"""What holds for all tests."""

import signal

# A shell that starts a job in the background makes it ignore Ctrl-C, and so would every process the tests start: those
# that end by it would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)
