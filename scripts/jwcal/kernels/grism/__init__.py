"""Light through a grism: images of what the pixels of a direct image become."""
