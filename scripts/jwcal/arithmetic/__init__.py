"""The arithmetic of steps that is more than a page, by subject; the kernels have the same subjects.

It knows arrays and keywords; no files, no configuration.
"""
