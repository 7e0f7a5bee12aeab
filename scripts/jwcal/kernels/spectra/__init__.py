"""Spectra: sums across a trace, fits of a profile, the background beside it. Arrays are (int, along, across) the spectrum."""
