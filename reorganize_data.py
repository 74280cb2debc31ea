"""Reorganise a chest X-ray data set into 80/10/10 train, val and test folders.

    python reorganize_data.py data/chest_xray [data/chest_xray_reorganized] [--seed 0]

For people who come from the notebook: this is `pneumoscope data reorganize`, and takes its options.
No patient is in two of the folders.
"""

import sys

from pneumoscope.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["data", "reorganize"]
    main()
