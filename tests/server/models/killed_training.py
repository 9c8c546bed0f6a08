"""Runs functions of this package in processes that are killed at a given moment; its imports are paid for once.

Run as a program it reads one call a line and forks: what is called, with which words, and when it is killed.
"""

import json
import subprocess
import sys


class KilledCalls:
    """The program, seen from the test.

    Args:
        environment: of the calls.
    """

    def __init__(self, environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.program = subprocess.Popen([sys.executable, "-m", __name__], env=environment, **pipes)

    def run(self, name, *words, log, killed_at=None):
        """Calls one of `CALLS` and returns its exit code, negative when a signal ended it.

        ``killed_at``: the name of a file and a number: the process is killed when it is about to be renamed into place
        for the so-manieth time.
        """
        call = {"name": name, "words": [str(word) for word in words], "log": str(log), "killed_at": killed_at}
        self.program.stdin.write(json.dumps(call) + "\n")
        self.program.stdin.flush()
        return int(self.program.stdout.readline())

    def close(self):
        """Ends the program."""
        self.program.kill()
        self.program.communicate()


def main():
    """Forks a process for every line on stdin."""
    from tests.training.preloaded_runs import serve

    import breastkit.datasets.slices
    import breastkit.transforms  # noqa: F401
    from breastkit.bundle import Bundle
    from breastkit.promotion import promote
    from breastkit.server.models import label_training

    calls = {
        "train": lambda job: label_training.main([job]),
        "promote": lambda bundle, candidate, models: promote(
            Bundle(bundle, models=models), candidate, figures={"training": "x"}
        ),
    }
    serve(lambda call: calls[call["name"]](*call["words"]))


if __name__ == "__main__":
    main()
