"""Ports are asked for before anything that takes a while."""

from __future__ import annotations

import socket

from breastkit.errors import BreastkitError


def refuse_taken_port(host: str, port: int) -> None:
    """Makes sure that a port is free, before networks are loaded for a page nobody could open.

    Raises:
        BreastkitError: if it is taken, or the address is not this machine's.
    """
    with socket.socket() as probe:
        # As servers do: a port that was closed a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise BreastkitError(f"{host} is no address of this machine; choose another with --host.") from error
        except (OSError, OverflowError) as error:
            raise BreastkitError(
                f"Port {port} of {host} is in use or not allowed; stop what uses it or choose another with --port."
            ) from error
