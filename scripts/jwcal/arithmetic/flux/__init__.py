"""From counts to flux: what a photom reference says of an exposure, of images and of spectra.

Surface brightness in MJy/sr, or flux in MJy a pixel where the reference is for point sources."""
