"""1/f noise and backgrounds."""
