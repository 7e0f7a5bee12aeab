"""Outlier detection: one module for each way that exposures are compared with each other.

Each has `flag(exposure or members, options)`, with the parameters of the step as `options.Options`. It returns what the step returns.
"""
