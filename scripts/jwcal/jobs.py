"""One job of a run: `python -m jwcal.jobs RECIPE --log FILE`; see `workflow.jobs`."""

import sys

from .workflow.jobs import main

if __name__ == "__main__":
    sys.exit(main())
