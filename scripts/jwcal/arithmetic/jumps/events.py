"""How many large events there were."""


def usable_groups(exposure):
    """Differences of groups that are not DO_NOT_USE everywhere, in all integrations."""
    dead = exposure.dead_groups
    return dead.size - int(dead.sum()) - dead.shape[0]


def record(exposure, found):
    """Put the snowballs or showers per million pixels and second into the header; blocks of one exposure add up."""
    head = exposure.header
    groups = usable_groups(exposure)
    if groups < 1:
        return
    pixels = head["SUBSIZE1"] * head["SUBSIZE2"]
    before = head["EXTNCRS"] if exposure.integrations.start else 0.0
    head["EXTNCRS"] = before + 1e6 * found / (float(head["TGROUP"]) * groups * pixels)
