"""NIRSpec: from the detector through camera, grating wheel and collimator to the slits, and on through the fore optics to the sky.

`optics` has the path as arrays and as models, `slits` which slits are open, `msa` those of the micro-shutters, `exposure_slits` both
together for one exposure; `ifu` and `imaging` are what their names say. Lengths are metres, wavelengths too but at the end of the path.
"""
