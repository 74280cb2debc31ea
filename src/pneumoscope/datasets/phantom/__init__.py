"""The phantom: synthetic frontal chest radiographs, for demonstrations and tests only."""

from pneumoscope.datasets.phantom.disease import Disease
from pneumoscope.datasets.phantom.projection import Phantom, draw_phantom
from pneumoscope.datasets.phantom.writing import MASKS, PhantomResult, write_phantoms

__all__ = ["MASKS", "Disease", "Phantom", "PhantomResult", "draw_phantom", "write_phantoms"]
