"""The arithmetic of steps that is more than a page: arrays in, arrays out; no files, no configuration."""
