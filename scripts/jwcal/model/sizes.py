"""How much of a ramp is in memory: for those who walk one, and for those who plan how much memory that takes."""

LARGE = 768 * 2**20  # bytes of samples: a ramp of more is walked
PIECE = 128 * 2**20  # bytes of samples of a block or strip, where one integration is not larger
