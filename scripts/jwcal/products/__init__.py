"""What a product looks like: extensions, keywords, names; exposures from files and to files.

It knows no arithmetic.
"""
