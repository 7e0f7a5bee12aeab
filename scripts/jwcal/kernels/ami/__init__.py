"""The image of a mask of holes, sample by sample.

One algorithm a file."""
