"""Spectra on the detector: what the profile across a spectrum tells of pixels that have no value, the model of a trace, sampling it
more finely than the detector does."""
