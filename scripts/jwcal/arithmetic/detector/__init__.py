"""What the electronics leave in the samples: reference pixels, IRS2 readout.

It knows samples and the order in which they are read, no sources.
"""
