"""Combining images on one grid of the sky: the grid, the map of pixels onto it, the drizzle, the header of the result."""
