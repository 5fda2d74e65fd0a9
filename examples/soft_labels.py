"""Which digits resemble one another, according to a network: the soft labels that online label smoothing learns.

Run: python examples/soft_labels.py   (about 8 s on two cores)
Result: soft_labels.png, where 9 gives most to 3 and 3 most to 9; next come 8 and 9, 2 and 3.
"""

import pathlib

import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_ls as kls


def main(path="soft_labels.png", epochs=40):
    """Trains, prints the most alike class of each, draws the soft labels; returns them, `[10, 10]`."""
    keras.utils.set_random_seed(0)
    digits = kls.data.load("digits-noise")
    model = kls.models.mlp((64,), digits.num_classes)
    loss = kls.losses.OnlineLabelSmoothing(digits.num_classes)
    model.compile(keras.optimizers.SGD(0.05, 0.9, nesterov=True), loss, metrics=["accuracy"])
    model.fit(*digits.train, batch_size=64, epochs=epochs, verbose=0, callbacks=[kls.callbacks.SoftLabelUpdate()])

    soft = loss.soft_labels.numpy()
    others = np.where(np.eye(len(soft), dtype=bool), 0.0, soft)
    for label, row in enumerate(others):
        print(f"{label}: {soft[label, label]:.2f} to itself, {row.max():.3f} to {row.argmax()}")

    figure, ax = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
    image = ax.imshow(others, cmap="Blues", vmin=0)
    ax.set(xlabel="share of class", ylabel="soft label of class")
    ax.set_xticks(range(len(soft)), digits.class_names)
    ax.set_yticks(range(len(soft)), digits.class_names)
    figure.colorbar(image, label="probability (diagonal left out)")
    figure.savefig(path, dpi=150)
    print(f"Open {pathlib.Path(path).resolve()}.")
    return soft


if __name__ == "__main__":
    main()
