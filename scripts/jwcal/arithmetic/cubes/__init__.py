"""Cubes of integral field units: which ones, their grids, which pixels see what, and what the sums become."""
