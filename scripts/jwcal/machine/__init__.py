"""The machine under us: threads, memory, Python's search for garbage.

It knows nothing of astronomy.
"""
