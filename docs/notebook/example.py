# %% [markdown]
# # jwcal in a notebook
#
# Made by `make notebook`, which runs [example.py](example.py) and writes this page and [example.ipynb](example.ipynb).
#
# Every mode can be simulated, so nothing has to be fetched: a star through MIRI's prism without a slit, with the references that its
# calibration needs, and the truth.

# %%
import jwcal
from jwcal.simulate.modes import MODES

made = MODES["mir_lrs-slitless"].make("prism")
made.uncals

# %% [markdown]
# A file of any kind is opened with `jwcal.open`, and says what it is: product, shape, filter, what was done.

# %%
jwcal.open(made.uncals[0])

# %% [markdown]
# ## From the ramp to the count rate
#
# A pipeline takes a file, or what another pipeline has made. Parameters are those of `jwcal detector1 --help`; with `out="folder"` the
# products are written as well. Without the simulated references `crds_path` is not needed: `CRDS_PATH` is taken.

# %%
crds = {"crds_path": str(made.crds)}
rate = jwcal.run_pipeline("detector1", made.uncals[0], steps={"jump": {"rejection_threshold": 5}}, **crds)
rate

# %% [markdown]
# The arrays are numpy's, and the header has the keywords that the file would have.

# %%
{key: rate.header[key] for key in ("EXP_TYPE", "BUNIT", "R_DARK", "S_JUMP")}

# %%
bad = (rate.dq & 1) > 0
print(f"{rate.sci.shape}, {bad.mean():.2%} of the pixels are not to be used")

# %%
import numpy as np
from matplotlib import pyplot

figure, axes = pyplot.subplots(figsize=(7, 2.4), layout="constrained")
image = np.where(bad, np.nan, rate.sci).T
drawn = axes.imshow(image, origin="lower", vmin=0, vmax=np.nanpercentile(image, 99), cmap="inferno", aspect="auto")
axes.set(xlabel="row (wavelength)", ylabel="column", title="the star's trace")
figure.colorbar(drawn, label=rate.header["BUNIT"])

# %% [markdown]
# ## To the spectrum
#
# `every=True` gives all products of a pipeline.

# %%
products = jwcal.run_pipeline("spec2", rate, every=True, **crds)
products

# %% [markdown]
# Spectra are `specutils.Spectrum` where that is installed, tables are astropy's.

# %%
spectrum = products["x1d"].to_spectra()[0]
type(spectrum).__name__, spectrum.flux.unit, spectrum.spectral_axis.unit, len(spectrum.flux)

# %%
table = products["x1d"].to_tables()[0]["WAVELENGTH", "FLUX", "FLUX_ERROR", "DQ"]
for name in table.colnames[:3]:
    table[name].format = ".3g"
print(table[100:105])

# %% [markdown]
# The simulation knows what the star's light was.

# %%
wavelength, flux = spectrum.spectral_axis.value, spectrum.flux.value
good = ~spectrum.mask & (wavelength > 5.5) & (wavelength < 12)
truth = made.truth.spectrum(wavelength)
print(f"measured over true, median: {np.median(flux[good] / truth[good]):.2f}")

figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
axes.plot(wavelength[good], 1e3 * flux[good], label="x1d")
axes.plot(wavelength[good], 1e3 * truth[good], label="put in")
axes.set(xlabel="wavelength [micron]", ylabel="flux [mJy]")
axes.legend()

# %% [markdown]
# ## To a file and back

# %%
path = products["x1d"].write("mine_x1d.fits")
jwcal.open(path)

# %%
[hdu.name for hdu in products["cal"].to_hdulist()]

# %% [markdown]
# ## What goes wrong says what to do

# %%
try:
    jwcal.run_pipeline("detector1", made.uncals[0], steps={"jump": {"rejection": 5}}, **crds)
except jwcal.JwcalError as error:
    print(error)
