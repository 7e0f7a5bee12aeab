"""What the electronics do to samples."""
