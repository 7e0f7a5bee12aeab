"""Align exposures: sources, catalogues, fits in the tangent plane."""
