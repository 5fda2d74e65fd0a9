"""The weights of a Distiller's terms."""

import keras

from keras_ls.distillation.distiller_checks import checked_share, checked_weights


class LossWeights:
    """What a Distiller does about w and λ: variables, so that a schedule can move them without a new trace."""

    def make_loss_weights(self, distillation_loss_weights, student_loss_weight):
        """Makes the variables."""
        self._distillation_weights = [
            self._scalar(f"distillation_loss_weight_{i}", weight)
            for i, weight in enumerate(self._checked_weights(distillation_loss_weights))
        ]
        self._student_weight = self._scalar("student_loss_weight", checked_share(student_loss_weight))

    @property
    def student_loss_weight(self):
        """w, a float."""
        return float(self._student_weight.numpy())

    @student_loss_weight.setter
    def student_loss_weight(self, value):
        self._student_weight.assign(checked_share(value))

    @property
    def distillation_loss_weights(self):
        """λ, a list of floats."""
        return [float(weight.numpy()) for weight in self._distillation_weights]

    @distillation_loss_weights.setter
    def distillation_loss_weights(self, values):
        for variable, value in zip(self._distillation_weights, self._checked_weights(values)):
            variable.assign(value)

    def _checked_weights(self, values):
        count = len(self.distillation_losses)
        values = checked_weights("distillation_loss_weights", [1.0] * count if values is None else values)
        if len(values) != count:
            raise ValueError(
                f"Expected one `distillation_loss_weights` entry a distillation loss: {count}. Received: {len(values)}."
            )
        return values

    def _scalar(self, name, value):
        return self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), trainable=False, dtype="float32", name=name
        )
