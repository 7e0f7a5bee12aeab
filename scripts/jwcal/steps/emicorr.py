"""Subtract the electromagnetic interference that MIRI's electronics pick up. Off by default."""

from ..errors import Skip

SKIP = True
OPTIONAL = ("emicorr",)


def apply(exposure, refs):
    raise Skip("being written")
