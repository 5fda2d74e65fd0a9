"""Teachers of known α are told apart; what is measured of them equals plain forms; and errors say what to do."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import keras_ls as kls
from keras_ls.data.splits import Splits
from keras_ls.models import final_dense
from keras_ls.studies.diagnosis import judge
from keras_ls.studies.teacher_outputs import load_teacher, outputs_of
from tests.ops import plain_forms

DATASET = "digits-noise"


@pytest.fixture(scope="module")
def teachers():
    trainings = {
        "hard": kls.studies.Training(DATASET, (64,)),
        "smoothed": kls.studies.Training(DATASET, (64,), label_smoothing=0.1),
        "strongly smoothed": kls.studies.Training(DATASET, (64,), label_smoothing=0.3),
        "unfinished": kls.studies.Training(DATASET, (64,), epochs=2),
    }
    return {name: training.run() for name, training in trainings.items()}


@pytest.mark.parametrize(
    "name, alpha, smoothed",
    [("hard", 0.0, "no"), ("smoothed", 0.1, "yes"), ("strongly smoothed", 0.3, "yes"), ("unfinished", None, "unclear")],
)
def test_verdicts_on_teachers_of_known_alpha(teachers, name, alpha, smoothed):
    verdict = kls.studies.diagnose(teachers[name], DATASET).verdict
    assert verdict.smoothed == smoothed
    if alpha is not None:
        assert verdict.alpha == pytest.approx(alpha, abs=0.02)
    # a smoothed teacher teaches at T = 1; a hard, over-confident one above it
    assert {"yes": verdict.temperature == 1, "no": (verdict.temperature or 0) > 1.5, "unclear": True}[smoothed]


def test_measures_equal_plain_forms(teachers):
    model = teachers["smoothed"]
    found = kls.studies.diagnose(model, DATASET, temperatures=(1, 4))
    features = keras.Model(model.inputs, model.get_layer("penultimate").output)
    splits = kls.data.load(DATASET)
    for part in ("train", "test"):
        x, y = getattr(splits, part)
        z, measures = model.predict(x, verbose=0).astype("float64"), found.measures[part]
        log_p, rows = log_softmax(z, axis=1), np.arange(len(y))
        assert measures["examples"] == len(y)
        assert measures["accuracy"] == pytest.approx((z.argmax(axis=1) == y).mean())
        assert measures["nll"] == pytest.approx(-log_p[rows, y].mean(), rel=1e-5)
        assert measures["entropy"] == pytest.approx(-(np.exp(log_p) * log_p).sum(axis=1).mean(), rel=1e-5)
        assert measures["entropy_share"] == pytest.approx(measures["entropy"] / np.log(10))
        wrong = np.delete(z, y + 10 * rows).reshape(-1, 9)
        gap = z[rows, y] - wrong.mean(axis=1)
        assert measures["wrong_variance"] == pytest.approx(wrong.var(axis=1).mean() / (gap**2).mean(), rel=1e-5)
        gamma = [10 / 9 * (1 - softmax(z / t, axis=1)[rows, y]).mean() for t in (1, 4)]
        assert found.gamma[part] == pytest.approx(gamma, rel=1e-5)
    layer = [np.array(w) for w in model.get_layer("logits").get_weights()]
    x, y = splits.train
    expected = plain_forms.neural_collapse(features.predict(x, verbose=0), y, *layer, np.ones(len(y)))
    assert list(found.collapse) == pytest.approx(expected, rel=1e-4)
    x, y = splits.test
    fitted = kls.calibrators.TemperatureScaling().fit(model.predict(x, verbose=0), y)
    assert found.measures["test"]["temperature"] == pytest.approx(fitted.temperature, rel=1e-5)
    # cross-fitted, so that it need not be the least; but near it
    assert found.measures["test"]["nll_at_temperature"] == pytest.approx(fitted.fit_report.nll_after, abs=0.02)


def test_training_data_alone_and_probabilities(teachers):
    model = teachers["hard"]
    found = kls.studies.diagnose(model, DATASET, part="train", examples=300)
    assert list(found.measures) == ["train"] and found.measures["train"]["examples"] == 300
    assert found.verdict.temperature is None and "held-out data" in found.verdict.advice
    ending = keras.Sequential([model, keras.layers.Softmax()])
    with pytest.raises(ValueError, match=r"Expected logits.*sum to 1.*--probabilities"):
        kls.studies.diagnose(ending, DATASET)
    # probabilities lose what is below 1e-7; the calibration error does not see that
    one, other = (
        kls.studies.diagnose(m, DATASET, from_logits=logits).measures["test"]
        for m, logits in ((model, True), (ending, False))
    )
    assert other["ece"] == pytest.approx(one["ece"], abs=1e-5)


def test_inputs_of_another_scale_are_suspected(teachers):
    # trained on pixels from 0 to 255, so that these are too small
    model = keras.Sequential([keras.Input((64,)), keras.layers.Rescaling(1 / 255), teachers["hard"]])
    (said,) = (note for note in kls.studies.diagnose(model, DATASET).notes if "right on only" in note)
    assert "pixels from 0 to 1" in said
    assert not any("right on only" in note for note in kls.studies.diagnose(teachers["hard"], DATASET).notes)


def test_a_teacher_that_says_the_same_of_everything():
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, kernel_initializer="zeros")])
    with pytest.raises(ValueError, match=r"Expected a teacher that tells examples apart.*the same logits for all"):
        kls.studies.diagnose(model, DATASET)


def test_the_last_layer():
    def dense(units, **settings):
        return keras.layers.Dense(units, **settings)

    assert final_dense(keras.Sequential([keras.Input((4,)), dense(8), dense(3, name="last")]), 3).name == "last"
    ending = keras.Sequential([keras.Input((4,)), dense(3, name="last"), keras.layers.Softmax()])
    assert final_dense(ending, 3).name == "last"
    assert final_dense(keras.Sequential([keras.Input((4,)), dense(3), keras.layers.Dropout(0.1)]), 3) is None
    shared, inputs = dense(4), keras.Input((4,))
    assert final_dense(keras.Model(inputs, shared(shared(inputs))), 4) is None

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(3)

        def call(self, x):
            return self.last(x)

    assert final_dense(Own(), 3) is None


def images(size):
    x = np.random.default_rng(0).random((40, size, size, 1), "float32")
    return Splits("images", *[(x, np.arange(40) % 4)] * 3, ("a", "b", "c", "d"), "random images")


def flat_network(shape, units=4):
    layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(units)]
    return keras.Sequential(layers)


def test_inputs_are_cropped_or_reshaped_and_it_is_said():
    splits = images(8)
    x, model = splits.train[0], flat_network((4, 4, 1))
    found, notes = outputs_of(model, splits, "train")
    np.testing.assert_allclose(found.logits, model(x[:, 2:6, 2:6]), rtol=1e-5)
    assert notes == ("The teacher takes 4×4 pixels: it sees the middle of the 8×8.",)
    model = flat_network((64,))
    found, notes = outputs_of(model, splits, "train", examples=7)
    np.testing.assert_allclose(found.logits, model(x[:7].reshape(7, 64)), rtol=1e-5)
    assert len(notes) == 1 and "reshaped" in notes[0]
    assert outputs_of(flat_network((8, 8, 1)), splits, "train")[1] == ()


@pytest.mark.parametrize(
    "model, message",
    [
        (
            lambda: flat_network((9, 9, 1)),
            r"takes 'images', arrays of \(8, 8, 1\)\. Received: one that takes \(9, 9, 1\)",
        ),
        (lambda: flat_network((8, 8, 1), 5), r"of the 4 classes of 'images'.*Received: \(40, 5\)"),
        (lambda: flat_network((8, 8, 3)), "Choose the `--dataset`"),
    ],
)
def test_teachers_of_other_data(model, message):
    with pytest.raises(ValueError, match=message):
        outputs_of(model(), images(8), "train")


def test_without_a_last_layer_the_rest_is_told(monkeypatch):
    monkeypatch.setitem(kls.data.DATASETS, "images", lambda: images(8))
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 8), keras.layers.Flatten()]
    found = kls.studies.diagnose(keras.Sequential(layers), "images")
    assert found.collapse is None and "separation" not in found.measures["train"]
    assert any("No Dense layer" in note for note in found.notes)
    kls.data.load.cache_clear()


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(ValueError, match="which does not exist"):
        load_teacher(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match=r"Expected a model that `keras\.models\.load_model` loads"):
        load_teacher(tmp_path / "text.keras")


def test_advice():
    # a teacher that is under-confident has T* < 1: it teaches at 1 or above
    assert judge(0.0, 0.1, 0.2, 0.7).temperature == 1
    assert judge(0.0, 0.1, 0.2, 2.34).temperature == 2.3
    assert "T = 9.2" in judge(0.0, 0.1, 0.2, 2.34).advice
    assert judge(0.1, 0.95, 0.05).certainty.startswith("Sure") and judge(0.1, 0.85, 0.05).certainty.startswith("Likely")
    assert "T = 2.3" in judge(0.1, 0.5, 0.05, 2.34).advice


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"part": "tets"}, "Did you mean 'test'"),
        ({"temperatures": (0,)}, "`temperatures` > 0"),
        ({"num_bins": 0}, "`num_bins`"),
        ({"examples": 3}, "`examples`"),
        ({"dataset": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        kls.studies.diagnose(flat_network((64,), 10), **{"dataset": "digits", **settings})


def test_a_damaged_teacher_is_one_sentence(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.save(tmp_path / "teacher.keras")
    content = bytearray((tmp_path / "teacher.keras").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "flipped.keras").write_bytes(content)
    (tmp_path / "cut.keras").write_bytes(content[:50])
    (tmp_path / "empty.keras").write_bytes(b"")
    for name in ("flipped", "cut", "empty"):
        with pytest.raises(ValueError, match=rf"^Expected a model that .* Received: .*{name}\.keras \("):
            kls.studies.load_teacher(tmp_path / f"{name}.keras")
    for name in ("teacher.h5", "renamed.keras"):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n")
        with pytest.raises(ValueError, match=r"Expected a model saved as \.keras.*HDF5"):
            kls.studies.load_teacher(tmp_path / name)


def test_an_error_without_a_message_is_told_by_its_name(tmp_path, monkeypatch):
    flat_network((64,)).save(tmp_path / "teacher.keras")

    def fails(*_, **__):
        raise ValueError

    monkeypatch.setattr(keras.models, "load_model", fails)
    with pytest.raises(ValueError, match=r"teacher\.keras \(ValueError\)"):
        load_teacher(tmp_path / "teacher.keras")
    monkeypatch.setattr(keras.Model, "predict", fails)
    with pytest.raises(ValueError, match=r"an error of its own \(ValueError\)"):
        outputs_of(flat_network((8, 8, 1)), images(8), "train")


def test_a_weight_with_a_flipped_bit_is_found(tmp_path):
    model, path = flat_network((64,)), tmp_path / "teacher.keras"
    model.save(path)
    whole = path.read_bytes()
    at = whole.find(model.get_weights()[0].tobytes()[:64])
    path.write_bytes(whole[: at + 3] + bytes([whole[at + 3] ^ 0x10]) + whole[at + 4 :])
    with pytest.raises(ValueError, match=r"\(model\.weights\.h5 is damaged\)"):
        load_teacher(path)
