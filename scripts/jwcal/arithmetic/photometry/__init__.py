"""How bright sources are: one in a series of images, or all of a mosaic."""
