"""Where the pixels look, and at which wavelength: images, spectrographs, footprints, FITS approximations.

It knows headers and references. gwcs and astropy.modeling take a second to load: only steps that work on a WCS import it.
"""
