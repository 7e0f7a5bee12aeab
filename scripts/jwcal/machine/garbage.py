"""Python's search for reference cycles: imports and headers set it off again and again, though they leave next to none."""

import gc
from contextlib import contextmanager

SELDOM = (100_000, 50, 50)  # new objects between two searches, and how many of these make a wider one


@contextmanager
def seldom_collected():
    """Search seldom for as long as the block lasts; a tenth of a short job's time goes into it otherwise."""
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
