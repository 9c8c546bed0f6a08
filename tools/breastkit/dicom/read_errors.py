"""What pydicom raises, among others, when a file is damaged."""

import struct
import zlib

from pydicom.errors import BytesLengthException, InvalidDicomError

READ_ERRORS = (
    InvalidDicomError, BytesLengthException, AttributeError, EOFError, OSError, ValueError, LookupError, TypeError,
    NotImplementedError, RuntimeError, ArithmeticError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
