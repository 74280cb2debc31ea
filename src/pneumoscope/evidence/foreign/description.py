"""The description of a model of others: what it takes, what it answers, in a small YAML file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from pneumoscope.errors import ModelError
from pneumoscope.evidence.foreign.values import Scale, Values
from pneumoscope.images import Geometry, RectangularSpec, Resampler

#: A description is small; what is larger is something else.
_MOST_BYTES = 64 * 1024
_DEEPEST = 8

Side = Annotated[int, Field(ge=8, le=2048)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Threshold = Annotated[float, Field(ge=0, le=1)]


class Meaning(StrEnum):
    """What the numbers of a model's output are."""

    LOGIT = "logit"
    """Of pneumonia: the sigmoid is still to come."""
    PROBABILITY = "probability"
    """Of pneumonia, 0..1."""
    CLASS_LOGITS = "class_logits"
    """One a class: the softmax is still to come."""
    CLASS_PROBABILITIES = "class_probabilities"
    """One a class, with sum 1."""
    LOGIT_OF_NORMAL = "logit_of_normal"
    PROBABILITY_OF_NORMAL = "probability_of_normal"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class InputDescription(_Part):
    """What the model takes. Every field's description says what the field takes."""

    size: list[Side] = Field(
        min_length=2, max_length=2, description="height and width in pixels, such as [224, 224]"
    )
    channels: Literal[1, 3] = Field(description="1 or 3")
    layout: Literal["NCHW", "NHWC"] = Field(
        description="NCHW (PyTorch, timm, most ONNX files) or NHWC (Keras, TensorFlow)"
    )
    values: Values | Scale = Field(
        description="imagenet, caffe, a range such as 0..1 (what black and white become), or a "
        "mapping with range, mean and std"
    )
    colour: Literal["RGB", "BGR"] | None = Field(
        None, description="RGB or BGR, the order of the channels"
    )
    resampler: Resampler = Field(
        Resampler.BILINEAR, description=f"one of {', '.join(r.value for r in Resampler)}"
    )
    geometry: Geometry = Field(
        Geometry.STRETCH, description=f"one of {', '.join(g.value for g in Geometry)}"
    )
    name: Text | None = Field(None, description="the name of the input, where there are several")

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.scale.check_channels(self.channels)
        if self.values == "caffe" and self.colour == "RGB":
            raise ValueError("caffe is BGR by definition: leave colour out")
        if self.channels == 1 and self.colour is not None:
            raise ValueError("one channel has no colour: leave colour out")
        return self

    @property
    def scale(self) -> Scale:
        """How grey levels become numbers, in the order of the input's channels."""
        if isinstance(self.values, Scale):
            return self.values
        return Scale.from_name(self.values, backwards=self.colour == "BGR")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image in the layout's order."""
        height, width = self.size
        if self.layout == "NCHW":
            return self.channels, height, width
        return height, width, self.channels

    @property
    def preprocessing(self) -> RectangularSpec:
        """How an image becomes grey pixels; what they become then is the model's own matter."""
        height, width = self.size
        return RectangularSpec(
            size=height, width=width, resampler=self.resampler, geometry=self.geometry
        )


class OutputDescription(_Part):
    """What the model answers."""

    meaning: Meaning = Field(description=f"one of {', '.join(m.value for m in Meaning)}")
    name: Text | None = Field(None, description="the name of the output, where there are several")
    index: Annotated[int, Field(ge=0)] | list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        description="the place of pneumonia among the numbers of the output, from 0, or a list of "
        "places where several classes are pneumonias",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        classes = self.meaning in {Meaning.CLASS_LOGITS, Meaning.CLASS_PROBABILITIES}
        if classes and self.index is None:
            raise ValueError(f"{self.meaning} needs index, the place of pneumonia from 0")
        if isinstance(self.index, list):
            if not classes:
                raise ValueError("several places need class_logits or class_probabilities")
            if not self.index or len(set(self.index)) < len(self.index):
                raise ValueError("index takes one place or more, none of them twice")
        return self

    @property
    def places(self) -> tuple[int, ...]:
        """Where pneumonia stands among the numbers of the output; 0 where nothing was said."""
        if isinstance(self.index, list):
            return tuple(self.index)
        return (self.index or 0,)


class ReferralBand(_Part):
    """Between the two a person is to look."""

    rule_out: Threshold = Field(description="a probability, 0 to 1")
    rule_in: Threshold = Field(description="a probability, 0 to 1")


class ModelDescription(_Part):
    """All that must be known to judge a model of others, and what may be said about it."""

    name: Text = Field(description="what reports call the model")
    input: InputDescription = Field(description="a mapping with size, channels, layout and values")
    output: OutputDescription = Field(description="a mapping with meaning")
    threshold: Threshold | None = Field(
        None, description="the probability, 0 to 1, from which the model calls pneumonia"
    )
    referral_band: ReferralBand | None = Field(
        None, description="a mapping with rule_out and rule_in"
    )
    architecture: Text | None = Field(None, description="what timm calls the network: resnet18")
    checkpoint: Text | None = Field(
        None, description="the file of timm's weights, from the description's folder"
    )
    trained_on: Text | None = Field(None, description="in words, what the model was trained on")
    licence: Text | None = Field(None, description="the licence of the weights")
    citation: Text | None = Field(None, description="the paper, or a link")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.referral_band is not None:
            low, high = self.referral_band.rule_out, self.referral_band.rule_in
            if not low <= self.decisive_threshold <= high:
                raise ValueError(
                    f"thresholds must rise from rule_out ({low}) over threshold "
                    f"({self.decisive_threshold}) to rule_in ({high})"
                )
        return self

    @property
    def decisive_threshold(self) -> float:
        """The stated threshold, 0.5 where none is."""
        return 0.5 if self.threshold is None else self.threshold


def read_description(path: Path) -> ModelDescription:
    """Read the description of a model from a YAML or JSON file.

    Raises
    ------
    ModelError
        The file cannot be read, or a field is missing, unknown or not what it takes.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The description {path} cannot be read: {error.strerror or error}."
        ) from error
    return parse_description(data, str(path))


def parse_description(data: bytes | str, source: str) -> ModelDescription:
    """Return the model that a text in YAML or JSON, read from `source`, describes.

    Raises
    ------
    ModelError
        As `read_description`.
    """
    tree = _parse_yaml(data, source)
    try:
        # Strict about types; through JSON, which has neither tuples nor enums to be strict about.
        return ModelDescription.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        found = error.errors()
        # Of a field of several types pydantic says first that it is not the first of them.
        first = next((one for one in found if one["type"] == "value_error"), found[0])
        raise ModelError(f"In {source}, {_explain(first, tree)}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{source} holds what no description has: {error}.") from error


def _parse_yaml(data: bytes | str, source: str) -> Any:
    if len(data) > _MOST_BYTES:
        raise ModelError(f"{source} is no description: it has more than {_MOST_BYTES >> 10} KiB.")
    try:
        _check_events(yaml.parse(data, yaml.SafeLoader), source)
        tree = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(f"{source} is not valid YAML: {said}.") from error
    if not isinstance(tree, dict):
        raise ModelError(f"{source} is no description: it needs the fields name, input and output.")
    return tree


def _check_events(events: Iterable[yaml.Event], source: str) -> None:
    """Refuse what takes a parser long: deep nesting, and aliases for lists of aliases."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ModelError(f"{source} is no description: its lists are nested too deeply.")
        if isinstance(event, yaml.AliasEvent):
            raise ModelError(f"{source} has YAML aliases (*name), which descriptions may not have.")


def _explain(error: ErrorDetails, tree: Any) -> str:
    """Return what is wrong in a clause: the field, what was found, what is allowed."""
    place, model, takes = _locate(error["loc"])
    name = ".".join(place)
    if error["type"] == "missing":
        return f"{name} is missing: it takes {takes}"
    if error["type"] == "extra_forbidden" and place == [str(part) for part in error["loc"]]:
        near = difflib.get_close_matches(place[-1], model.model_fields, n=1)
        allowed = ", ".join(model.model_fields)
        hint = f"{near[0]} may be meant" if near else f"allowed are {allowed}"
        return f"there is no field {name}: {hint}"
    if error["type"] == "value_error":
        said = str(error["msg"]).removeprefix("Value error, ")
        return f"{name}: {said}" if name else said
    found = tree
    for part in place:
        found = found.get(part) if isinstance(found, dict) else found
    return f"{name or 'the whole'} takes {takes}; found {_abbreviate(found)}"


def _locate(loc: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel], str]:
    """Return the path of the field that pydantic means, the model it belongs to, what it takes."""
    place: list[str] = []
    model: type[BaseModel] = ModelDescription
    takes = "a mapping"
    inner: Any = ModelDescription
    for part in loc:
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break  # within a list, or one of several types that a field takes
        model = inner
        place.append(str(part))
        if part not in model.model_fields:
            break
        field = model.model_fields[str(part)]
        takes, inner = field.description or "", field.annotation
        if str(part) == "referral_band":
            inner = ReferralBand
    return place, model, takes


def _abbreviate(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
