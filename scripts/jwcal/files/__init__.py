"""Files: whole or not there at all, FITS and ASDF, headers alone, references as they are, digests of contents.

It does not know what a product is.
"""
