"""Sorting, picking and clipping along one axis."""
