"""numba kernels: arrays and scalars in, arrays out. Where numba keeps them is in `keep`, what they are called with in `signatures`."""

from . import keep

keep.install()
