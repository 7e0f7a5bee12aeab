"""Pixels of slices onto the voxels of a cube, and spectra out of cubes."""
