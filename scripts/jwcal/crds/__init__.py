"""CRDS: how it is asked, what it has answered, which reference an exposure needs.

Nobody else opens a session with it; it reads no arrays.
"""
