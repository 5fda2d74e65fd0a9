"""The moves of online label smoothing."""

from typing import Any

import keras

from keras_ls.losses import OnlineLabelSmoothing


class SoftLabelUpdate(keras.callbacks.Callback):
    """Moves the soft labels of `losses.OnlineLabelSmoothing` after every epoch.

    Raises:
        ValueError: for a model whose losses are others, a loss that moves by itself (`steps_per_epoch`), and on JAX.

    Examples:
        >>> import keras, numpy as np, keras_ls as kls
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> loss = kls.losses.OnlineLabelSmoothing(num_classes=2)
        >>> model.compile(keras.optimizers.SGD(0.0), loss)
        >>> x, y = np.array([[2.0, 0.0], [0.0, 0.0]], "float32"), np.array([0, 1])
        >>> history = model.fit(x, y, verbose=0, callbacks=[kls.callbacks.SoftLabelUpdate()])
        >>> [[round(float(s), 4) for s in row] for row in loss.soft_labels.numpy()]  # class 1 was not predicted
        [[0.8808, 0.1192], [0.5, 0.5]]

    Reference:
        Zhang et al., "Delving Deep into Label Smoothing", 2021.
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the losses."""
        if keras.backend.backend() == "jax":
            raise ValueError(
                "Expected the TensorFlow or PyTorch backend: in `fit` on JAX OnlineLabelSmoothing cannot learn. "
                "Call its `observe` and `update` in a training loop of your own."
            )
        self._losses = [x for x in keras.tree.flatten(self.model.loss) if isinstance(x, OnlineLabelSmoothing)]
        if not self._losses:
            raise ValueError(
                "Expected keras_ls.losses.OnlineLabelSmoothing(num_classes=K) in compile(). "
                f"Received: {self.model.loss!r}."
            )
        for loss in self._losses:
            if loss.steps_per_epoch is not None:
                raise ValueError(
                    "Expected one way of moving the soft labels. Received: SoftLabelUpdate together with "
                    f"steps_per_epoch={loss.steps_per_epoch}. Leave one of them out."
                )
            loss.moved_by_callback = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Drops what is left of an epoch that was cut short, or of a `fit` without this callback."""
        for loss in self._losses:
            loss.begin_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the soft labels."""
        for loss in self._losses:
            loss.end_epoch()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the losses to what comes next."""
        for loss in self._losses:
            loss.moved_by_callback = loss._reminded = False
