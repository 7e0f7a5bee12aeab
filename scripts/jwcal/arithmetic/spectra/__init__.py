"""From images of spectra to tables of them: where a source's light fell, what is summed, how spectra are put together.

It knows profiles across and along a trace; no files, no instruments.
"""
