"""The arithmetic of steps that is more than a page: arrays, keywords and references in, arrays and models out. No files."""
