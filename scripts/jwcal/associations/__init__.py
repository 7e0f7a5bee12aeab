"""Which exposures become one product: the rules of stage 2 and stage 3.

    pool = associations.read("jw01234_pool.csv")                      # of the archive
    pool = associations.from_exposures(program.exposures, links)      # of the headers of a folder
    for association in associations.generate(pool):
        association.product, association.pipeline, association.members
    associations.write(made, folder)

`config/associations.yaml` has the rules.
"""

from .archive import load, write
from .candidates import generate, orphans
from .headers import from_exposures
from .model import Association, Item, Member
from .pool import Pool, read

__all__ = ["Association", "Item", "Member", "Pool", "from_exposures", "generate", "load", "orphans", "read", "write"]
