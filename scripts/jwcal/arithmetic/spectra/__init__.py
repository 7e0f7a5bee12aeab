"""From images of spectra to tables of them: where a source's light fell, what is summed, and how spectra are put together."""
