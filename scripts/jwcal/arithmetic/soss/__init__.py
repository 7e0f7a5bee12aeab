"""NIRISS's slitless spectra of single objects: where the orders lie, what of one falls into another's aperture, sums in boxes.

ATOCA (Darveau-Bernier et al. 2022, PASP 134, 094502): one spectrum makes both orders, so that a fit of it tells each order's share of a
pixel (Radica et al. 2022, PASP 134, 104502, for the shares across a column). A column has one wavelength in each order. So all that the
fit needs of the pixels are sums along the columns, and what it gives back is a number a column.
"""
