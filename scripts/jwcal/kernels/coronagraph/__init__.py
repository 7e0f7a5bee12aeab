"""What is done to images behind a coronagraph's mask, pixel by pixel: bad pixels are filled from their neighbours.

One algorithm a file."""
