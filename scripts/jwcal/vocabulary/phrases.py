"""Numbers of things, and some of many names, as sentences have them."""


def count(number, what):
    """1 job, 2 jobs."""
    return f"{number} {what}{'s' * (number != 1)}"


def some(names, most=3):
    """The first of some names, and how many more."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)
