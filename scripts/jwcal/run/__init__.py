"""A chain is a loop over its steps; here it runs, on whole exposures or on pieces of a ramp.

It does not know what a step does.
"""
