"""What numba has no public way to tell or to set: all names of its inner modules that the package uses.

`tests/kernels/test_numba_private.py` tries each of them with the version of envs/requirements.txt.
"""

from numba.core.caching import UserProvidedCacheLocator
from numba.core.dispatcher import Dispatcher
from numba.core.event import Listener, install_listener, register

__all__ = ["COMPILE", "LOCATORS", "Dispatcher", "Listener", "UserProvidedCacheLocator", "install_listener", "register"]
COMPILE = "numba:compile"  # the event of a kernel that is compiled, not of one that is loaded
# the places where numba looks for compiled kernels, in its own order
LOCATORS = ("UserProvidedCacheLocator", "InTreeCacheLocator", "UserWideCacheLocator", "IPythonCacheLocator", "ZipCacheLocator")
