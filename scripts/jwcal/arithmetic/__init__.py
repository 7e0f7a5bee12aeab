"""The arithmetic of steps that is more than a page. It knows arrays, keywords and WCS; neither files nor the configuration."""
