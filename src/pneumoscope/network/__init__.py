"""ResNet50 with one pneumonia logit: the network, its initial weights, its export to a bundle."""

from pneumoscope.network.backbone import BackboneFacts, read_backbone_facts, save_backbone
from pneumoscope.network.download import (
    IMAGENET,
    WeightsSource,
    fetch_weights,
    find_weights,
)
from pneumoscope.network.export import load_network, round_weights, save_bundle
from pneumoscope.network.folding import fold_batch_norm
from pneumoscope.network.graph import build_graph
from pneumoscope.network.quantization import fold_graph, quantise_graph
from pneumoscope.network.resnet import PARTS, NetworkOutput, PneumoniaResNet50, initialise_head
from pneumoscope.network.states import READ_ERRORS
from pneumoscope.network.timm_models import TimmClassifier
from pneumoscope.network.weights import (
    Contamination,
    WeightsOrigin,
    check_contamination,
    choose_weights,
    draw_weights,
    load_initial_weights,
)

__all__ = [
    "IMAGENET",
    "PARTS",
    "READ_ERRORS",
    "BackboneFacts",
    "Contamination",
    "NetworkOutput",
    "PneumoniaResNet50",
    "TimmClassifier",
    "WeightsOrigin",
    "WeightsSource",
    "build_graph",
    "check_contamination",
    "choose_weights",
    "draw_weights",
    "fetch_weights",
    "find_weights",
    "fold_batch_norm",
    "fold_graph",
    "initialise_head",
    "load_initial_weights",
    "load_network",
    "quantise_graph",
    "read_backbone_facts",
    "round_weights",
    "save_backbone",
    "save_bundle",
]
