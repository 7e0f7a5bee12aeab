"""Where the pixels look: gWCS pipelines, their FITS approximation and their footprint.

Only `steps.assign_wcs` and what works on a WCS import these modules: gwcs and astropy.modeling take a second to load.
"""
