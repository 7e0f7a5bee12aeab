"""Fringes that the fringe flat leaves: sines in wavenumber, found one after the other and fitted together.

In images of slices, column by column, and in extracted spectra. Kavanagh et al. 2023 (JWST-STScI-008573) describe the method; the
number of sines is told by their evidence (Kester 2004, AIP 735, 379).
"""
