"""The kernels that jobs need, compiled before the first of them starts: once, side by side, in processes of their own."""

import subprocess
import sys
import time

from ..provenance import codebase, records


def needed(recipes):
    """The modules of kernels that some recipes' steps are made of: "ramps/ols_ramp"..., sorted; but for those of options."""
    from ..kernels import signatures  # numba, which planning does without

    code = codebase.Code()
    modules = set().union(*(code.modules(roots) for roots in {tuple(records.roots(recipe, code)) for recipe in recipes}))
    code.remember()
    return [module for module in sorted(signatures.table()) if f"kernels/{module}" in modules]


def compile_missing(recipes, say, processes=None):
    """Compile what some recipes need and is not kept yet. What fails is left to the jobs.

    Parameters
    ----------
    recipes : iterable of Recipe
    say : callable
        Takes a sentence.
    processes : int, optional
    """
    from ..kernels import ahead, keep

    modules = needed(recipes)
    missing = ahead.missing(modules)
    if not missing:
        return
    started = time.monotonic()
    say(f"Compiling {len(missing)} of {len(modules)} modules of kernels that this run needs, once: they are kept in {keep.folder()}.")
    command = [sys.executable, "-m", "jwcal.warm_up", "--quiet", "--modules", *missing]
    done = subprocess.run(command + ["--processes", str(processes)] * bool(processes), capture_output=True, text=True)
    left = f" The jobs compile the others: {done.stderr.strip()[-300:]}" if done.stderr or done.returncode else ""
    say(f"Compiled in {time.monotonic() - started:.0f} s.{left}")
