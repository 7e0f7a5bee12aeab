"""NIRSpec's IRS2 readout (Moseley et al. 2010, Proc. SPIE 7742, 77421B; Rauscher et al. 2017, PASP 129, 105003).

While a line is read, all outputs step out together to the reference pixels again and again, so that their drifts are sampled as fast as
the pixels, and a fifth output, the reference output, is kept. The raw image has a row for every sample of a line: 3200 of them.
"""
