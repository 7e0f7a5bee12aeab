"""Numbers, and what they count, as a person reads them."""


def duration(seconds):
    """Seconds as a person says them: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def percent(fraction):
    """A fraction with two figures that count."""
    if fraction is None:
        return "–"
    return "0" if fraction == 0 else f"{100 * fraction:.2g} %" if fraction < 0.1 else f"{100 * fraction:.1f} %"


def number(value):
    """Digits in groups of three."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def roughly(seconds):
    """A time that is only estimated: less than a minute, about 12 min, about 3 h 10 min."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60} min"


def stopping(stops):
    """Lines about exposures that go no further: `stops` has where and how many."""
    return [f"{count} {'exposure stops' if count == 1 else 'exposures stop'} after {where}" for where, count in sorted(stops.items())]


def waiting(waits):
    """Lines about associations that wait: `waits` has stage -> {what they wait for: their number}."""
    counts = [(stage, what, count) for stage, its in sorted(waits.items()) for what, count in sorted(its.items())]
    return [f"{count} {stage} {'association waits' if count == 1 else 'associations wait'} for {what}" for stage, what, count in counts]
