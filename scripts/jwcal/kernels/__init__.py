"""numba kernels, by subject: arrays and scalars in, arrays out. Where numba keeps them is in `keep`.

They know nothing else of the package.
"""

from . import keep

keep.install()
