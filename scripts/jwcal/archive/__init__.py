"""The mission's public archive (MAST): which raw files a program has, and how they come here whole.

It knows the archive's HTTP interface and that a file is FITS; nothing of what is in it.
"""
