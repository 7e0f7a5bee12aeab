"""What references are called in a recipe: by their type, and those of some slits also by the EXP_TYPE that they were chosen for."""

MARK = "@"


def as_for(kind, exp_type):
    """A type of reference, chosen as for exposures of another EXP_TYPE: "fflat@NRS_FIXEDSLIT"."""
    return f"{kind}{MARK}{exp_type}"


def plain(name):
    """The type alone."""
    return name.partition(MARK)[0]
