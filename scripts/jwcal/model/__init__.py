"""The data that steps see: exposures, ramps that are walked, members, references cut to the subarray.

It opens no products, and knows no step.
"""
