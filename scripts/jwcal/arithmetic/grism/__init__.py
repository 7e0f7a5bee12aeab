"""Spectra without slits: where a grism sends the light of each source, which sources there are, and what is cut out for each."""
