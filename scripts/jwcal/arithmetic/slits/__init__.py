"""Slits of spectrographs: where they fall on the detector, and which belong to one source."""
