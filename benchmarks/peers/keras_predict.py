"""Prediction as it is usually written in Keras, timed: python keras_predict.py WAY [FOLDER]

`dataset` is `image_dataset_from_directory` and `Model.predict`, files to probabilities. `loop` is
what tutorials show: `load_img` and `predict`, one file after the other. `forward` is the forward
pass alone. Weights are random, which costs the same time. It needs tensorflow-cpu and pillow, in an
environment of their own; nothing is downloaded. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.applications.resnet50 import preprocess_input
from stopwatch import report, time_batches

SIZE = (224, 224)
BATCH = 32
_WARM_UP = 3


def build_model() -> keras.Model:
    """Return a ResNet50 with one sigmoid."""
    base = keras.applications.ResNet50(
        weights=None, include_top=False, pooling="avg", input_shape=(*SIZE, 3)
    )
    return keras.Model(base.input, keras.layers.Dense(1, activation="sigmoid")(base.output))


def time_dataset(model: keras.Model, folder: Path) -> tuple[int, float]:
    """Return the images of a folder and the seconds for them; a last part of a batch is left out.

    A smaller batch would compile the network once more.
    """
    images = keras.utils.image_dataset_from_directory(
        folder,
        labels=None,
        batch_size=BATCH,
        image_size=SIZE,
        interpolation="bilinear",
        shuffle=False,
        verbose=False,
    )
    batches = len(images.file_paths) // BATCH
    prepared = images.map(preprocess_input, num_parallel_calls=tf.data.AUTOTUNE)
    prepared = prepared.prefetch(tf.data.AUTOTUNE)
    model.predict(prepared.take(_WARM_UP), verbose=0)
    started = time.perf_counter()
    answers = model.predict(prepared.take(batches), verbose=0)
    return len(answers), time.perf_counter() - started


def time_loop(model: keras.Model, folder: Path, most: int) -> tuple[int, float]:
    """Return the images answered one by one, and the seconds."""
    files = sorted(folder.rglob("*.jpeg"))[:most]
    for file in files[:_WARM_UP]:
        predict_file(model, file)
    started = time.perf_counter()
    for file in files:
        predict_file(model, file)
    return len(files), time.perf_counter() - started


def predict_file(model: keras.Model, file: Path) -> float:
    """Answer one file as a tutorial does."""
    image = keras.utils.load_img(file, target_size=SIZE)
    pixels = np.expand_dims(keras.utils.img_to_array(image), axis=0)
    return float(model.predict(preprocess_input(pixels), verbose=0)[0, 0])


def prepare_forward(model: keras.Model) -> Callable[[int], Callable[[], object]]:
    """Return what runs the compiled forward pass, without the loop that `predict` puts round it."""

    def prepare(batch: int) -> Callable[[], object]:
        images = np.random.default_rng(0).standard_normal((batch, *SIZE, 3), dtype=np.float32)
        return lambda: model.predict_on_batch(images)

    return prepare


def main() -> None:
    """Time one way and print JSON."""
    parser = argparse.ArgumentParser(description="Prediction in Keras, timed.")
    parser.add_argument("way", choices=("dataset", "loop", "forward"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--most", type=int, default=100, help="files of `loop`")
    parser.add_argument("--seconds", type=float, default=10, help="each batch size of `forward`")
    options = parser.parse_args()
    if options.way != "forward" and options.folder is None:
        parser.error("name the folder of files.")
    model = build_model()
    said: dict[str, Any] = {"keras": keras.__version__, "tensorflow": tf.__version__}
    if options.way == "forward":
        said |= time_batches(prepare_forward(model), options.seconds)
    else:
        if options.way == "dataset":
            images, seconds = time_dataset(model, options.folder)
        else:
            images, seconds = time_loop(model, options.folder, options.most)
        said |= {"images": images, "seconds": seconds, "rate": images / seconds}
    report(**said)


if __name__ == "__main__":
    main()
