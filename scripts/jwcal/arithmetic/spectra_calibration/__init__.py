"""From counts to the flux of a spectrum, in two dimensions: what a pixel of a slit or grism sees at its wavelength.

Sources and backgrounds as the calibration takes them; no spectrum is extracted here."""
