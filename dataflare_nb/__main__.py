"""`python -m dataflare_nb` is `dataflare`."""

import sys

from .cli import main

sys.exit(main())
