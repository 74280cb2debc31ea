"""ResNet50 with one pneumonia logit: the network, its initial weights, its export to a bundle."""

from pneumoscope.network.export import load_network, round_weights, save_bundle
from pneumoscope.network.graph import build_graph
from pneumoscope.network.resnet import PARTS, NetworkOutput, PneumoniaResNet50, initialise_head

__all__ = [
    "PARTS",
    "NetworkOutput",
    "PneumoniaResNet50",
    "build_graph",
    "initialise_head",
    "load_network",
    "round_weights",
    "save_bundle",
]
