"""`teacher_fingerprint`: the same for the same function, another for another."""

import keras
import pytest

from keras_ls.distillation.teacher_cache.fingerprint import teacher_fingerprint
from tests.distillation.networks import batch_norm_network, network


def dense(activation="relu", name=None, dtype="float32", output=None):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name=name)
    x = layers.Dense(5, activation=activation, name=name and f"{name}_hidden", dtype=dtype)(inputs)
    return keras.Model(inputs, layers.Dense(3, name=output)(x))


def test_names_do_not_count():
    # the second has other names throughout: of the model, the input and the layers
    assert teacher_fingerprint(dense()) == teacher_fingerprint(dense(name="other", output="logits"))


def test_a_name_that_is_also_a_value_hides_no_change():
    assert teacher_fingerprint(dense("relu", output="relu")) != teacher_fingerprint(dense("tanh", output="tanh"))


def test_where_layers_are_connected_counts():
    # the same layers and weights: b(a(x)) and a(b(x))
    def chain(order):
        keras.utils.set_random_seed(0)
        layers = {name: keras.layers.Dense(4, name=name) for name in "ab"}
        x = inputs = keras.Input((4,))
        for layer in layers.values():
            layer.build((None, 4))
        for name in order:
            x = layers[name](x)
        return keras.Model(inputs, keras.layers.Add()([x, layers["a"](inputs), layers["b"](inputs)]))

    assert teacher_fingerprint(chain("ab")) != teacher_fingerprint(chain("ba"))


def test_what_changes_the_function_changes_the_fingerprint():
    model = network()
    before = teacher_fingerprint(model)
    weights = model.get_weights()
    weights[0][0, 0] += 1e-6
    model.set_weights(weights)
    assert teacher_fingerprint(model) != before
    assert teacher_fingerprint(dense("relu")) != teacher_fingerprint(dense("tanh"))
    assert teacher_fingerprint(dense()) != teacher_fingerprint(dense(dtype="mixed_float16"))


def test_moving_averages_count_and_freezing_does_not():
    model = batch_norm_network()
    before = teacher_fingerprint(model)
    model.trainable = False
    assert teacher_fingerprint(model) == before
    model.layers[1].moving_mean.assign(model.layers[1].moving_mean + 1)
    assert teacher_fingerprint(model) != before


def test_saving_and_running_change_nothing(tmp_path):
    model = batch_norm_network()
    before = teacher_fingerprint(model)
    model.save(tmp_path / "teacher.keras")
    assert teacher_fingerprint(keras.models.load_model(tmp_path / "teacher.keras")) == before
    model.compile("sgd", "mse")
    model.predict_on_batch(keras.ops.ones((2, 4)))
    assert teacher_fingerprint(model) == before


def test_subclassed_models_are_told_by_class_and_weights():
    class One(keras.Model):
        def __init__(self, width):
            super().__init__()
            self.dense = keras.layers.Dense(width, kernel_initializer="ones")

        def call(self, x):
            return self.dense(x)

    class Other(One):
        pass

    one, same, other = One(3), One(3), Other(3)
    for model in (one, same, other):
        model(keras.ops.ones((1, 2)))
    assert teacher_fingerprint(one) == teacher_fingerprint(same) != teacher_fingerprint(other)


def test_a_layer_without_config_hides_no_other():
    class Apply(keras.layers.Layer):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, x):
            return self.function(x)

    def model(activation):
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation=activation), Apply(abs)])

    assert (
        teacher_fingerprint(model("relu")) == teacher_fingerprint(model("relu")) != teacher_fingerprint(model("tanh"))
    )


class Holds(keras.layers.Layer):
    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, x):
        return x

    def get_config(self):
        if isinstance(self.value, Exception):
            raise self.value
        return {**super().get_config(), "value": self.value}


def tables():
    return [
        {1: 2, "a": 3},
        {1: 2, "a": 4},
        {(1, 2): 3},
        object(),
        {"b", "c"},
        print,
        TypeError("none"),
        ValueError("no"),
    ]


def test_whatever_a_config_holds_has_a_fingerprint():
    def model(value):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((2,))
        return keras.Model(inputs, keras.layers.Dense(3)(Holds(value)(inputs)))

    prints = [teacher_fingerprint(model(value)) for value in tables()]
    assert prints == [teacher_fingerprint(model(value)) for value in tables()]
    assert len(set(prints[:3])) == 3  # keys that are no text tell apart all the same


def test_what_a_subclass_holds_is_no_address_in_memory():
    class Subclass(keras.Model):
        def __init__(self, value):
            super().__init__()
            self.dense, self.value = keras.layers.Dense(3, kernel_initializer="ones"), value

        def call(self, x):
            return self.dense(x)

        def get_config(self):
            return {"value": self.value}

    for make in (object, lambda: lambda x: x, lambda: {"b", "a"}):
        one, other = Subclass(make()), Subclass(make())
        for model in (one, other):
            model(keras.ops.ones((1, 2)))
        assert teacher_fingerprint(one) == teacher_fingerprint(other)


@pytest.mark.parametrize("teacher", [None, "teacher.keras", keras.Sequential([keras.layers.Dense(2)])])
def test_no_built_model(teacher):
    with pytest.raises(ValueError, match=r"Expected `teacher` to be a built keras\.Model"):
        teacher_fingerprint(teacher)
