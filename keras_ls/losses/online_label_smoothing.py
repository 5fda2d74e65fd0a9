"""Online label smoothing: each class's soft label is what the network lately predicted for it."""

import warnings
from typing import Any

import keras
from keras import ops as K

from keras_ls.losses.classification_loss import ClassificationLoss
from keras_ls.losses.coefficient import Coefficient, inside_traced_code
from keras_ls.losses.reduction import sum_over_replicas
from keras_ls.ops._backend import backward_inputs
from keras_ls.ops._checks import checked_count, checked_fraction
from keras_ls.ops._inputs import align_labels, flatten_examples, pick
from keras_ls.ops._logits import as_logits
from keras_ls.ops._tensors import classes_last
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import get_keras_mask
from keras_ls.ops.crossentropy import weighted, zero_where_impossible


@keras.saving.register_keras_serializable(package="keras_ls")
class OnlineLabelSmoothing(ClassificationLoss):
    """Cross-entropy with class-wise soft labels that are learned from the network's own predictions.

    `ℓ = -(1 - α) log p_y - α Σ_k S_yk log p_k`. S begins uniform; after every epoch its row y becomes the mean
    prediction `p` over the epoch's training examples of class y that were predicted rightly, weighted by their sample
    weights. Rows without any stay.

    The moves come from `callbacks.SoftLabelUpdate()` in `fit`, or by themselves every `steps_per_epoch` steps. The loss
    learns only where its gradient is taken, so never from validation data. S is saved with a compiled model. TensorFlow
    and PyTorch backends; on JAX, whose traces have no state outside the model, call `observe` and `update` yourself.

    A batch counts once, however many gradients of it are taken; but twice for two gradients of one call of a
    `tf.function` that a persistent `tf.GradientTape` outside it recorded: put the tape inside the function, or take the
    gradient for all sources at once.

    When: classes resemble one another in known ways (fine-grained classes): wrong classes get their share by
    resemblance instead of evenly. It needs memory for two K × K matrices.

    Args:
        num_classes: K.
        label_smoothing: α in [0, 1), the share of the soft labels; the paper's ½.
        steps_per_epoch: training steps after which S moves, or None to leave that to the callback.
        from_logits, ignore_class, axis, reduction, name, dtype: as of every `ClassificationLoss`.

    Attributes:
        label_smoothing: α, a `keras.Variable`, to assign to while training.
        soft_labels: S, a `keras.Variable` `[K, K]`; row y is the soft label of class y.

    Call arguments:
        - `y_true`: integers of the shape of `y_pred` without `axis` (or with 1 there).
        - `y_pred`: logits `[..., K]`.

    Returns:
        Nats; a scalar, or one value an example for `reduction="none"`.

    Raises:
        ValueError: for α outside [0, 1), another number of classes, dense labels, and for labels as every
            `ClassificationLoss`, and a loss made inside traced code.

    Examples:
        >>> import keras_ls as kls
        >>> loss = kls.losses.OnlineLabelSmoothing(num_classes=2)
        >>> labels, logits = [0, 0], [[2.0, 0.0], [0.0, 2.0]]  # the second is wrong
        >>> round(float(loss(labels, logits)), 4)  # S is uniform: smoothing by ½
        1.1269
        >>> loss.observe(labels, logits)
        >>> loss.update()
        >>> [round(float(s), 4) for s in loss.soft_labels.numpy()[0]]  # softmax([2, 0])
        [0.8808, 0.1192]

    Reference:
        Zhang et al., "Delving Deep into Label Smoothing", 2021.
    """

    label_smoothing = Coefficient(checked_fraction)

    def __init__(
        self,
        num_classes: int,
        label_smoothing: float = 0.5,
        steps_per_epoch: int | None = None,
        from_logits: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "online_label_smoothing",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, axis, reduction, name, dtype)
        if inside_traced_code():
            raise ValueError(
                "Expected OnlineLabelSmoothing to be made outside traced code, as it learns from batch to batch. "
                "Received: its constructor called while a function is traced. Make it once, before `compile` or in "
                "`__init__`, and call that object."
            )
        self.num_classes = checked_count("num_classes", num_classes, minimum=2)
        self.label_smoothing = label_smoothing
        self.steps_per_epoch = None if steps_per_epoch is None else checked_count("steps_per_epoch", steps_per_epoch)
        self.moved_by_callback = False  # set by `callbacks.SoftLabelUpdate`
        self._reminded = False
        square = (self.num_classes, self.num_classes)
        once = {"trainable": False, "aggregation": "only_first_replica"}  # replicas assign the same values
        self.soft_labels = keras.Variable(
            K.full(square, 1 / self.num_classes), dtype="float32", autocast=False, name="soft_labels", **once
        )
        self._step = keras.Variable(0, dtype="int32", name="step", **once)
        self._epoch = keras.Variable(-1, dtype="int32", name="epoch", **once)  # whose batches the sums are of
        self._sums = keras.Variable(
            K.zeros(square),
            trainable=False,
            dtype="float32",
            autocast=False,
            aggregation="sum",
            synchronization="on_read",
            name="sums",
        )

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss; taking its gradient also learns from the batch."""
        value = super().__call__(y_true, y_pred, sample_weight)
        forward = _graph()
        learnt = set()  # where a gradient of this pass has been taken: a second one is of the same batch

        @K.custom_gradient
        def learning(value):
            def gradient(*args, upstream=None):
                upstream = backward_inputs(args, upstream, (value,))[0]
                backward = _graph()
                if backward in learnt:
                    return upstream
                learnt.add(backward)
                if backward == forward:
                    self._learn(y_true, y_pred, sample_weight)
                    return upstream
                return _after(lambda: self._learn(y_true, y_pred, sample_weight), upstream)

            return K.copy(value), gradient

        return learning(value)

    def losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Per-example losses."""
        if len(labels.shape) == len(logits.shape):
            raise ValueError(
                "Expected integer labels for OnlineLabelSmoothing, which learns a soft label for each. Received: dense "
                f"labels of shape {tuple(labels.shape)}. Take their argmax."
            )
        if logits.shape[-1] != self.num_classes:
            raise ValueError(
                f"Expected predictions over num_classes={self.num_classes} classes. Received: {logits.shape[-1]}."
            )
        log_p = K.log_softmax(logits, axis=-1)
        alpha = K.cast(self.label_smoothing.value, log_p.dtype)
        soft = K.take(self.soft_labels.value, K.clip(K.cast(labels, "int32"), 0, self.num_classes - 1), axis=0)
        log_p_soft = K.sum(zero_where_impossible(K.cast(soft, log_p.dtype), log_p), axis=-1)
        return -(1.0 - alpha) * pick(log_p, labels) - weighted(alpha, log_p_soft)

    def observe(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds the right predictions of a batch to what `update` will make of them; the arguments of a call."""
        mask = get_keras_mask(y_pred)
        y_pred = K.stop_gradient(classes_last(K.convert_to_tensor(y_pred), self.axis))
        if 0 in y_pred.shape:
            return
        y_true = align_labels(y_true, y_pred, self.axis)
        labels, predictions, weight = flatten_examples(y_true, y_pred, sample_weight, mask, self.ignore_class)
        logits = as_logits(predictions, self.from_logits)
        labels = K.cast(labels, "int32")
        right = K.cast(K.equal(K.cast(K.argmax(logits, axis=-1), "int32"), labels), "float32")
        weight = K.expand_dims(weight * right, -1)
        p = K.softmax(K.cast(logits, "float32"), axis=-1)
        # a logit that overflowed in half precision leaves no NaN behind
        counts = K.logical_and(weight > 0, K.isfinite(K.sum(p, axis=-1, keepdims=True)))
        p = K.where(counts, weight * p, K.zeros_like(p))
        self._sums.assign_add(K.segment_sum(p, labels, num_segments=self.num_classes))

    def update(self) -> None:
        """Moves the soft labels to the mean of what was observed since the last move."""
        self._reminded = True
        self._move(self._sums.value, True)

    def begin_epoch(self, epoch: int) -> None:
        """Starts to observe an epoch; what a training that went no further has left of the last one moves first."""
        if 0 <= int(self._epoch.numpy()) < epoch:
            self.update()  # a backup is written before the callbacks after it see the end of the epoch
        self.forget()
        self._epoch.assign(epoch)

    def end_epoch(self) -> None:
        """Moves the soft labels to the mean of the epoch."""
        self.update()
        self._epoch.assign(-1)

    def forget(self) -> None:
        """Drops what was observed since the last move."""
        self._sums.assign(K.zeros(self._sums.shape))

    def reset(self) -> None:
        """Back to uniform soft labels and nothing observed, for another training."""
        self.soft_labels.assign(K.full(self.soft_labels.shape, 1 / self.num_classes))
        self.forget()
        self._step.assign(0)
        self._epoch.assign(-1)

    def _learn(self, *batch):
        on_jax = keras.backend.backend() == "jax"
        if on_jax and self.steps_per_epoch is not None:
            raise ValueError(
                "Expected the TensorFlow or PyTorch backend for `steps_per_epoch`: on JAX OnlineLabelSmoothing "
                f"cannot learn by itself. Received: steps_per_epoch={self.steps_per_epoch}. Call its `observe` and "
                "`update` in a training loop of your own."
            )
        if self.steps_per_epoch is None and not (self.moved_by_callback or self._reminded):
            self._remind(on_jax)
        if on_jax:
            return
        self.observe(*batch)
        if self.steps_per_epoch is not None:
            self._step.assign_add(1)
            # every step, as a branch could not wait for other replicas
            due = K.equal(self._step.value % self.steps_per_epoch, 0)
            self._move(sum_over_replicas(K.convert_to_tensor(self._sums.value)), due)

    def _remind(self, on_jax):
        if on_jax:
            mend = (
                "On JAX call `observe` for every batch and `update` after every epoch, in a training loop of your own."
            )
        else:
            mend = (
                "In `fit` add keras_ls.callbacks.SoftLabelUpdate() to the callbacks; elsewhere give `steps_per_epoch`, "
                "or call `update()` after every epoch and take this for a reminder."
            )
        warnings.warn(f"OnlineLabelSmoothing trains, and nothing moves its soft labels yet. {mend}", stacklevel=2)
        self._reminded = True

    def _move(self, sums, due):
        total = K.sum(sums, axis=1, keepdims=True)
        seen = total > 0
        rows = K.where(seen, sums / K.where(seen, total, K.ones_like(total)), self.soft_labels.value)
        self.soft_labels.assign(K.where(due, rows, self.soft_labels.value))
        self._sums.assign(K.where(due, K.zeros_like(sums), self._sums.value))

    def save_own_variables(self, store: Any) -> None:
        """Keeps α, the soft labels and what was observed since their last move."""
        super().save_own_variables(store)
        store["soft_labels"] = self.soft_labels.numpy()
        store["sums"] = K.convert_to_numpy(self._sums.value)
        store["step"] = self._step.numpy()
        store["epoch"] = self._epoch.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` kept."""
        super().load_own_variables(store)
        for name in ("soft_labels", "sums", "step", "epoch"):
            if name in store:
                getattr(self, name if name == "soft_labels" else f"_{name}").assign(store[name])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialisation."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "steps_per_epoch": self.steps_per_epoch,
        }


def _after(action, tensor):
    """The `tensor`, once `action` has run: a graph of a backward pass alone drops what its results do not need."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def run():
        action()
        return tf.constant(True)

    with tf.control_dependencies([tf.function(run)()]):
        return tf.identity(tensor)


def _graph():
    """What tells a graph that is being traced from others; None where nothing is traced."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return None if tf.executing_eagerly() else id(tf.compat.v1.get_default_graph())
