"""Cut-outs of slits: which, from where, and what is known of each and of its source.

It knows the open slits as `wcs.nirspec` lays them on the detector.
"""
