"""Backgrounds of images that overlap on the sky."""
