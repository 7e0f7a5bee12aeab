"""Sums of sines in spectra."""
