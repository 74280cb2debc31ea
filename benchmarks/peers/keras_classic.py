"""The classic recipe as it is usually written in Keras, timed: python keras_classic.py SPLIT

SPLIT holds train/ and val/ with a folder for each class. Without --steps all epochs are trained.
With --steps, that many training steps and --val-steps validation steps of each stage are timed
after a warm-up, as `Model.fit` runs them, loading included. Prints one JSON object. It needs
tensorflow-cpu, pillow and scipy, in an environment of their own; nothing is downloaded: without
--weights the network starts at random, which costs the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.keras.applications.resnet50 import ResNet50, preprocess_input
from tensorflow.keras.layers import Dense, Dropout, GlobalAveragePooling2D
from tensorflow.keras.models import Model
from tensorflow.keras.optimizers import Adam
from tensorflow.keras.preprocessing.image import ImageDataGenerator

SIZE = 224
BATCH = 32
UNFROZEN = 30
RATES = {"baseline": 1e-3, "finetuned": 1e-5}


class Clock(keras.callbacks.Callback):
    """Notes when training and validation start, and when each of their steps ends."""

    def __init__(self) -> None:
        super().__init__()
        self.train: list[float] = []
        self.val: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Note the start."""
        self.train.append(time.perf_counter())

    def on_test_begin(self, logs: Any = None) -> None:
        """Note the start of validation."""
        self.val.append(time.perf_counter())

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note a training step."""
        self.train.append(time.perf_counter())

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note a validation step."""
        self.val.append(time.perf_counter())


def build_model(weights: str | None) -> tuple[Model, Model]:
    """Return the network, and its backbone, frozen."""
    base = ResNet50(weights=weights, include_top=False, input_shape=(SIZE, SIZE, 3))
    base.trainable = False
    hidden = Dropout(0.2)(GlobalAveragePooling2D()(base.output))
    return Model(base.input, Dense(1, activation="sigmoid")(hidden)), base


def open_images(split: Path) -> tuple[Any, Any]:
    """Return the generators of training and validation batches."""
    generator = ImageDataGenerator(preprocessing_function=preprocess_input)
    return tuple(
        generator.flow_from_directory(
            split / part,
            target_size=(SIZE, SIZE),
            batch_size=BATCH,
            class_mode="binary",
            shuffle=part == "train",
        )
        for part in ("train", "val")
    )


def prepare_stage(model: Model, base: Model, stage: str) -> None:
    """Freeze and compile for a stage."""
    if stage == "finetuned":
        base.trainable = True
        for layer in base.layers[:-UNFROZEN]:
            layer.trainable = False
    model.compile(Adam(RATES[stage]), loss="binary_crossentropy", metrics=["accuracy"])


def time_stage(model: Model, train: Any, val: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Run the stated steps, or all epochs, and return seconds a step."""
    steps, val_steps = len(train), len(val)
    if options.steps:  # the last batch of an epoch is smaller: it is not timed
        steps = min(options.warm_up + options.steps, steps - 1)
        val_steps = min(options.warm_up + options.val_steps, max(2, val_steps - 1))
    clock = Clock()
    model.fit(
        train,
        steps_per_epoch=steps,
        epochs=1 if options.steps else options.epochs,
        validation_data=val,
        validation_steps=val_steps,
        callbacks=[clock],
        verbose=0,
    )
    ended = time.perf_counter()
    if not options.steps:
        return {"seconds": ended - clock.train[0]}
    train_step, timed = average(clock.train, options.warm_up)
    val_step, val_timed = average(clock.val, options.warm_up)
    return {
        "train_step": train_step,
        "train_steps_timed": timed,
        "val_step": val_step,
        "val_steps_timed": val_timed,
        "compiling": max(0.0, clock.train[1] - clock.train[0] - train_step),
    }


def average(marks: list[float], warm_up: int) -> tuple[float, int]:
    """Return the mean seconds of the steps after the warm-up, and how many they are."""
    warm = min(warm_up, len(marks) - 2)
    timed = len(marks) - 1 - warm
    return (marks[-1] - marks[warm]) / timed, timed


def find_age() -> float:
    """Return the seconds since this process started (Linux)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The classic recipe in Keras, timed.")
    parser.add_argument("split", type=Path)
    parser.add_argument("--weights", help="a Keras weights file without top; random without it")
    parser.add_argument("--steps", type=int, default=0, help="training steps to time; 0 is all")
    parser.add_argument("--val-steps", type=int, default=6)
    parser.add_argument("--warm-up", type=int, default=3, help="steps before the clock counts")
    parser.add_argument("--epochs", type=int, default=10, help="of each stage, without --steps")
    return parser.parse_args()


def main() -> None:
    """Time both stages and print JSON."""
    options = parse_options()
    train, val = open_images(options.split)
    model, base = build_model(options.weights)
    setup = find_age()
    stages = {}
    for stage in RATES:
        prepare_stage(model, base, stage)
        stages[stage] = time_stage(model, train, val, options)
    report = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "batch": BATCH,
        "train_images": train.samples,
        "val_images": val.samples,
        "setup": setup,
        "stages": stages,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
