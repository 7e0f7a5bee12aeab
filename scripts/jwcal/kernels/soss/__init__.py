"""Slitless spectra whose orders overlap: sums across columns, integrals over pixels, resolution, misfit."""
