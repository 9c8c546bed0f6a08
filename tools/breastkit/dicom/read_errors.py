"""What pydicom raises, among others, when a file is damaged."""

import struct

from pydicom.errors import BytesLengthException, InvalidDicomError

READ_ERRORS = (
    InvalidDicomError, BytesLengthException, AttributeError, EOFError, OSError, ValueError, KeyError, TypeError,
    IndexError, NotImplementedError, RuntimeError, OverflowError, struct.error,
)  # fmt: skip
