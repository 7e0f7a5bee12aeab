"""How the light came to the detector: each module makes the WCS of a few kinds.

Its KINDS: kind -> what makes it, and the references without which it can't. The former takes the exposure, which gets `wcs` and keywords,
the references, and by name `sip` (the settings of the approximation by FITS keywords, or None) and the step's other parameters.
"""
