"""Raw exposures with known truth, and the references that go with them: for the demo, the tests and the benchmarks.

From the sky to the counts:

=================  =====================================================================================
`instruments`      the table of instruments, subarrays, readouts and modes (`instruments.yaml`)
`pointing`         where each pixel looks: aperture and distortion from the SIAF, attitude, aberration
`scene`            stars, galaxies and sky -> electrons a second in each pixel
`detector`         the truth of a detector: gain, bias, nonlinearity, dark, flat, defects...
`ramps`            photons, cosmic rays and electronics -> uint16 counts, group by group
`series`           what changes from integration to integration: a transit, jitter
`headers`          every keyword of the archive's raw files (`headers.yaml`), consistent with all that
`exposures`        the file, and its truth
`references`       the files that undo it
`crds_cache`       a small real CRDS cache around them
`from_rates`       any rates, of spectra too, as raw exposures with references and a CRDS cache: where every mode's light becomes counts
`prism`            MIRI's low resolution spectra: nods along the slit, series without a slit
`mrs`              light in the slices of MIRI's spectrometer, at the level of rates or calibrated images
`integral_field`   the same as raw exposures of both detectors: dithers, a background, fringes, scattered light, showers
`grism`            spectra behind grisms: wide fields with their direct images, NIRCam's time series
`soss`             NIRISS's slitless spectra of one star, in three orders that overlap
`nirspec`          slits, shutters, image slicer, lamps and images of NIRSpec, by its own optical model, as rates and as raw exposures
`calibrated`       the same exposures as stage 2 would leave them, in memory or as files, for fast tests of stage 3
`program`          many exposures from one description: `python -m jwcal.simulate demo FOLDER`
=================  =====================================================================================

    >>> from jwcal.simulate.exposures import simulate_exposure
    >>> from jwcal.simulate.references import write_references
    >>> made = simulate_exposure("data", exp_type="NRC_IMAGE", detector="NRCB1", subarray="SUB160", ngroups=6)
    >>> references = write_references("references", made.detector, setup=made.setup)

Not simulated: diffraction spikes, persistence, charge migration (brighter-fatter), amplifier glow, NIRSpec's IRS2 readout, MIRI's
electronic and reset effects.
"""
