"""Changes to real files that a parser may stumble over: bytes set, cut, repeated, swapped, and numbers made extreme."""

import os
import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = os.environ.get("FUZZ_EXAMPLES", "")
# In `make test` a few files, the same each time; in `make fuzz` many, others each time, after those that failed before.
FUZZ = settings(
    max_examples=int(LONG or 25),
    derandomize=not LONG,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

EXTREMES = [
    struct.pack(form, number)
    for form, numbers in (
        ("<I", (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
        (">I", (1, 0x7FFFFFFF, 0x80000000)),
        ("<H", (0x7FFF, 0xFFFF)),
        ("<Q", (1 << 40, 0xFFFFFFFFFFFFFFFF)),
        ("B", (0, 10, 0xFF)),
    )
    for number in numbers
] + [
    b"..",
    b"/",
    b"\0",
    b"\n",
    b"[" * 200,
    b"{" * 200,
    b"&a",
    b"*a",
    b'"',
    b"9" * 400,
    b"-1",
    b"1e999",
    b"\xed\xa0\x80",
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "repeat", "insert"]), st.integers(0, 1 << 20), st.integers(1, 2000),
        st.sampled_from(EXTREMES) | st.binary(min_size=1, max_size=8),
    ),
    max_size=6,
)  # fmt: skip


def edited(data: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    """Return `data` after the edits (kind, where, how much, with what), each at a place within the file."""
    for kind, where, length, new in edits:
        at = where % (len(data) + 1)
        if kind == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + length] * 3 + data[at + length :]
        else:
            data = data[:at] + new + data[at:]
    return data
