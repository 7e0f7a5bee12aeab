"""Drifts that reference pixels show, by the layout of the detector and its readout. NIRSpec's IRS2 readout is in the package `irs2`."""
