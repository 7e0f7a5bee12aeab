"""Where the pixels of spectrographs look, and at which wavelength.

gwcs and astropy.modeling take a second to load: only `steps.assign_wcs` and what works on a WCS import these modules.
"""
