"""Which exposures a folder holds.

It knows headers; no references, no arrays.
"""
