"""From samples to rates.

It knows ramps, not where their light came from.
"""
