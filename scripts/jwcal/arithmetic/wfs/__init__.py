"""Two dithered images of a defocused star: how far they are apart, and their mean."""
