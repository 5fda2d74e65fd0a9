"""A temperature as part of the last Dense layer: the calibrated model costs nothing more and needs nothing of ours."""

import collections

import keras
import numpy as np
from keras.src.models.functional import Functional

from keras_ls.calibrators.temperature_scaling import TemperatureScaling

_OUTPUTS = ("softmax", "sigmoid")


def fold_temperature(model: keras.Model, calibrator: TemperatureScaling | None = None) -> keras.Model:
    """Divides kernel and bias of the last Dense layer by the temperature, and drops the scaling layer.

    `(W x + b) / T = (W / T) x + b / T`

    Of a model that ends in a softmax the temperature is folded in before it. That is right where the calibrator was
    fitted to logits, or with `from_logits=False`; one that was fitted to probabilities taken for logits is refused.

    Args:
        model: a built Sequential or Functional `keras.Model`, nested or not, with one output: a Dense layer, then the
            `TemperatureScaling` to fold; a softmax or sigmoid may come last. It stays as it is.
        calibrator: a fitted `TemperatureScaling` of the model's outputs, for a model that does not hold it. The Dense
            layer may then have softmax or sigmoid as its activation: the temperature acts before it.

    Returns:
        A new model of the same kind, not compiled, without scaling layers. A Dense layer of half precision becomes
        float32, as calibrated logits are: the outputs are equal but for the half-precision rounding of the given model,
        those of other Dense layers but for float32's.

    Raises:
        ValueError: for subclassed or unbuilt models, several outputs, no temperature, one that was fitted to
            probabilities taken for logits, a scaling layer within the model that takes probabilities, a last layer that
            is no Dense or has another activation, and a Dense layer that is used more than once, is quantized or has
            LoRA.

    Examples:
        >>> import keras, numpy as np, keras_ls as kls
        >>> layers = [keras.Input((2,)), keras.layers.Dense(2), kls.calibrators.TemperatureScaling(4.0)]
        >>> model = keras.Sequential(layers)
        >>> model.layers[0].set_weights([np.array([[4.0, 0.0], [0.0, 8.0]]), np.array([1.0, 2.0])])
        >>> folded = kls.calibrators.fold_temperature(model)
        >>> [w.tolist() for w in folded.get_weights()]
        [[[1.0, 0.0], [0.0, 2.0]], [0.25, 0.5]]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, for the temperature.
    """
    if calibrator is not None and type(calibrator) is not TemperatureScaling:
        raise ValueError(
            f"Expected `calibrator` to be a fitted TemperatureScaling, or None. Received: {calibrator!r}. "
            "Others do not fold: export them beside the model."
        )
    if calibrator is not None and calibrator.took_probabilities:
        raise ValueError(
            "Expected a temperature of logits. Received: one that was fitted to probabilities taken for logits. "
            "Fit it again with `from_logits=False`."
        )
    _check_foldable(model)
    dense, scalings = _end_of(model, calibrator is not None)
    temperature = np.prod([scaling.temperature for scaling in (*scalings, calibrator) if scaling is not None])
    cloner = _Cloner(dense, scalings)
    folded = cloner.clone(model)
    cloner.check_used_once()
    for layer, copy in cloner.copies:
        weights = layer.get_weights()
        if layer is dense:
            weights = [np.asarray(weight, "float64") / temperature for weight in weights]
        copy.set_weights(weights)
    return folded


class _Cloner:
    """Clones models layer by layer, without those to drop; `copies` are the pairs whose weights agree."""

    def __init__(self, dense, dropped):
        self.dense, self.dropped = dense, dropped
        self.clones, self.copies, self.calls = {}, [], collections.Counter()

    def clone(self, layer):
        """The clone of a layer or model, always the same for the same."""
        if layer not in self.clones:
            self.clones[layer] = self._new(layer)
        return self.clones[layer]

    def check_used_once(self):
        """Raises where the Dense layer or a temperature, or a model that holds one, is called twice."""
        for layer, clone in self.clones.items():
            if self.calls[clone] > 1 and any(_holds(layer, changed) for changed in (self.dense, *self.dropped)):
                raise ValueError(
                    "Expected the last Dense layer and the temperature to be used once. "
                    f"Received: {layer.name!r}, used {self.calls[clone]} times: folding would change what else it "
                    "computes. Keep the temperature as a layer."
                )

    def _new(self, layer):
        graph = _is_graph(layer)
        if graph and isinstance(layer, keras.Sequential):
            inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in layer.inputs]
            layers = [self.clone(inner) for inner in layer.layers]
            self.calls.update(layers)
            kept = [inner for inner in layers if inner not in self.dropped]
            return keras.Sequential([*inputs, *kept], name=layer.name, trainable=layer.trainable)
        if graph:
            new = keras.models.clone_model(layer, clone_function=self.clone, call_function=self._call)
            new.compiled = False  # as what it was compiled with may be of this package
            return new
        if layer in self.dropped:
            return layer
        config = layer.get_config()
        if layer is self.dense and layer.compute_dtype in ("float16", "bfloat16"):
            config["dtype"] = "float32"
        new = type(layer).from_config(config)
        if isinstance(layer, keras.layers.Layer):
            self.copies.append((layer, new))
        return new

    def _call(self, clone, *args, **kwargs):
        self.calls[clone] += 1
        return args[0] if clone in self.dropped else clone(*args, **kwargs)


def _holds(layer, other):
    return layer is other or (isinstance(layer, keras.Model) and any(_holds(inner, other) for inner in layer.layers))


def _end_of(model, given):
    """The last Dense layer and the scaling layers after it, after errors for any other end."""
    scalings, output = [], None
    for layer in _from_the_end(model):
        name = f"{type(layer).__name__} {layer.name!r}"
        if isinstance(layer, TemperatureScaling):
            if not layer.from_logits:
                raise ValueError(
                    f"Expected a TemperatureScaling of logits in the model. Received: {name}, with from_logits=False. "
                    "Pass the model without it, and the fitted scaling as `calibrator`."
                )
            scalings.append(layer)
        elif type(layer) is keras.layers.Dense:
            activation = _activation(layer)
            before = given and not scalings and output is None and activation in _OUTPUTS
            if activation != "linear" and not before:
                raise ValueError(
                    "Expected a Dense layer without activation before the temperature. Received: "
                    f"{name} with {activation}. A temperature divides logits: leave the activation to a layer after "
                    "it, or, for softmax or sigmoid, pass the model without the scaling, and `calibrator`."
                )
            if not scalings and not given:
                raise ValueError(
                    f"Expected a TemperatureScaling layer after the last Dense. Received: none after {name}. "
                    "Pass a fitted `calibrator`."
                )
            if layer.quantization_mode is not None or layer.lora_enabled:
                raise ValueError(
                    f"Expected a Dense layer with a plain kernel. Received: {name}, quantized or with LoRA. Fold first."
                )
            return layer, scalings
        elif _activation(layer) in _OUTPUTS and not scalings and output is None:
            output = layer
        elif _activation(layer) != "linear":
            raise ValueError(
                "Expected a model that ends with a Dense layer, the TemperatureScaling and, if any, a softmax or "
                f"sigmoid. Received: {name}{' before them' if scalings or output else ' at its end'}. Keep the "
                "calibrator as a layer of its own, or export it beside the model."
            )
    raise ValueError(f"Expected a model with a Dense layer at its end. Received: none in {model.name!r}.")


def _activation(layer):
    """The name of what the layer does to numbers, "linear" for nothing; None for another kind of layer."""
    if isinstance(layer, keras.layers.Softmax):
        return "softmax" if layer.axis in (-1, [-1], (-1,)) else None
    if isinstance(layer, keras.layers.Identity):
        return "linear"
    if isinstance(layer, keras.layers.Activation) or type(layer) is keras.layers.Dense:
        return getattr(layer.activation, "__name__", str(layer.activation))
    return None


def _from_the_end(model):
    """Layers from the output back, into nested models and out of them, while each has one input."""
    sequential = isinstance(model, keras.Sequential)
    for layer in reversed(model.layers) if sequential else _back_from(model.outputs[0]):
        if isinstance(layer, keras.Model):
            _check_foldable(layer)
            yield from _from_the_end(layer)
        else:
            yield layer


def _back_from(tensor):
    while tensor is not None:
        operation, node, _ = tensor._keras_history
        if isinstance(operation, keras.layers.InputLayer):
            return
        yield operation
        inputs = operation._inbound_nodes[node].input_tensors
        tensor = inputs[0] if len(inputs) == 1 else None


def _check_foldable(model):
    if not _is_graph(model):
        raise ValueError(
            "Expected a Sequential or Functional keras.Model, whose layers are known. "
            f"Received: {type(model).__name__}. Divide kernel and bias of its last layer by the temperature yourself."
        )
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"Expected a built model. Received: {model.name!r}, whose inputs are not known. Call it on a batch first."
        )
    if len(model.outputs) != 1:
        raise ValueError(
            f"Expected a model with one output. Received: {len(model.outputs)} in {model.name!r}. "
            "Fold keras.Model(model.inputs, the output to calibrate)."
        )


def _is_graph(layer):
    # a subclass with a call of its own may do anything with its layers
    return isinstance(layer, keras.Model) and type(layer).call in (keras.Sequential.call, Functional.call)
