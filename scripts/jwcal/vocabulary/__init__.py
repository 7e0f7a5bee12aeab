"""Words that every room uses: errors, data quality bits, keywords and their limits, types of parameters.

It knows no files and no arrays of an exposure.
"""
