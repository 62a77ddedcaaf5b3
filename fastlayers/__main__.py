"""python -m fastlayers"""

import sys

from fastlayers.cli import main

if __name__ == "__main__":
    sys.exit(main())
