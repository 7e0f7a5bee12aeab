"""Sky levels of overlapping images."""
