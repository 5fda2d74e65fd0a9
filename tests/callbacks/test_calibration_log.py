"""What `CalibrationCallback(log_dir=...)` writes, read back from the event file."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.colors import to_rgb

from keras_ls.callbacks import CalibrationCallback
from keras_ls.plots import ReliabilityDisplay
from keras_ls.plots.canvas import pixels, unseen_figure
from keras_ls.plots.reliability_drawing import ACCURACY
from tests.callbacks.test_calibration_callback import KEYS, X_VAL, Y_VAL, X, Y, compiled, network, softmax, trained


def events(directory):
    """By tag: the plugin that shows it, its steps and its values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(directory / "calibration"), size_guidance={"tensors": 0}).Reload()
    return {
        tag: (
            log.SummaryMetadata(tag).plugin_data.plugin_name,
            [event.step for event in log.Tensors(tag)],
            [tf.make_ndarray(event.tensor_proto) for event in log.Tensors(tag)],
        )
        for tag in log.Tags()["tensors"]
    }


def test_scalars_are_the_logs(tmp_path):
    history = trained(compiled(), CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path))
    written = events(tmp_path)
    assert set(written) == {key.removeprefix("val_") for key in KEYS} | {"confidence", "reliability"}
    for key in KEYS:
        plugin, steps, values = written[key.removeprefix("val_")]
        assert plugin == "scalars" and steps == [0, 1]
        assert values == pytest.approx(history[key], rel=1e-6)


def test_a_continued_training_goes_on_in_the_same_place(tmp_path):
    model = compiled()
    callback = CalibrationCallback((X_VAL, Y_VAL), log_dir=str(tmp_path))
    model.fit(X, Y, 90, epochs=1, verbose=0, callbacks=[callback])
    model.fit(X, Y, 90, epochs=3, initial_epoch=1, verbose=0, callbacks=[callback])
    written = events(tmp_path)
    assert all(steps == [0, 1, 2] for _, steps, _ in written.values())


def test_image_is_the_diagram_of_the_epoch(tmp_path):
    model = compiled()
    trained(model, CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path, num_bins=8))
    plugin, steps, images = events(tmp_path)["reliability"]
    assert plugin == "images" and steps == [0, 1]
    width, height, png = images[-1]
    assert (width, height) == (b"400", b"400")
    image = tf.io.decode_png(png).numpy()
    assert image.shape == (400, 400, 3)
    blue = np.round(255 * np.array(to_rgb(ACCURACY["facecolor"])))
    assert (np.abs(image - blue).max(axis=-1) <= 1).mean() > 0.05  # bars
    assert (image == 255).all(axis=-1).mean() > 0.3  # paper
    figure = unseen_figure(4, 4)
    logits = model.predict(X_VAL, verbose=0)
    ReliabilityDisplay.from_predictions(Y_VAL, logits, num_bins=8, name="epoch 2", ax=figure.subplots())
    np.testing.assert_array_equal(image, pixels(figure, 100))
    assert images[0][2] != png


@pytest.mark.parametrize("image_every, steps", [(1, [0, 1, 2]), (2, [0, 2]), (9, [0])])
def test_images_every_so_many_epochs(tmp_path, image_every, steps):
    callback = CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path, image_every=image_every)
    compiled().fit(X, Y, 90, epochs=3, verbose=0, callbacks=[callback])
    written = events(tmp_path)
    assert written["reliability"][1] == steps and written["confidence"][1] == [0, 1, 2]


def test_drawing_is_not_imported_where_nothing_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_ls.plots", None)  # importing it now fails
    trained(compiled(), CalibrationCallback((X_VAL, Y_VAL)))
    trained(compiled(), CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path, image_every=0))
    assert "reliability" not in events(tmp_path)
    with pytest.raises(ImportError):
        trained(compiled(), CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path))


@pytest.mark.parametrize("weighted", [False, True])
def test_histogram_counts_the_confidences(tmp_path, weighted):
    weight = np.arange(50) % 3 if weighted else np.ones(50)
    model = compiled()
    trained(model, CalibrationCallback((X_VAL, Y_VAL, weight), log_dir=tmp_path))
    plugin, steps, values = events(tmp_path)["confidence"]
    assert plugin == "histograms" and steps == [0, 1]
    left, right, counts = values[-1].T
    assert counts.sum() == weight.sum()
    confidence = softmax(model.predict(X_VAL, verbose=0)).max(axis=1)
    expected, edges = np.histogram(confidence, 50, (0, 1), weights=weight)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_allclose([left, right], [edges[:-1], edges[1:]])


def test_histogram_leaves_ignored_examples_out(tmp_path):
    labels = np.where(np.arange(50) < 20, 9, Y_VAL)
    trained(compiled(), CalibrationCallback((X_VAL, labels), log_dir=tmp_path, ignore_class=9))
    assert events(tmp_path)["confidence"][2][0][:, 2].sum() == 30


def test_binary_predictions(tmp_path):
    # P(y=1), not its larger side: a sigmoid of 0 and of large negative logits
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), keras.losses.BinaryCrossentropy(from_logits=True))
    x, y = np.array([[0.0], [-9.0], [-9.0]]), np.array([1.0, 0.0, 0.0])
    model.fit(x, y, verbose=0, callbacks=[CalibrationCallback((x, y), log_dir=tmp_path)])
    written = events(tmp_path)
    (counts,) = (value[:, 2] for value in written["confidence"][2])
    assert {int(i): counts[i] for i in np.flatnonzero(counts)} == {0: 2, 25: 1}
    figure = unseen_figure(4, 4)
    display = ReliabilityDisplay.from_predictions(y, x[:, 0], name="epoch 1", ax=unseen_figure(4, 4).subplots())
    display.plot(figure.subplots(), xlabel="P(y = 1)", ylabel="frequency")
    np.testing.assert_array_equal(tf.io.decode_png(written["reliability"][2][0][2]), pixels(figure, 100))


def test_under_a_strategy(two_replicas, tmp_path):
    with two_replicas.scope():
        model = compiled(graph=True)
    trained(model, CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path), batch_size=16)
    written = events(tmp_path)
    assert len(written["reliability"][1]) == 2
    assert [value[:, 2].sum() for value in written["confidence"][2]] == [50, 50]


def test_no_files_without_log_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(compiled(), CalibrationCallback((X_VAL, Y_VAL)))
    assert list(tmp_path.iterdir()) == []


def test_a_log_dir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ValueError, match=r"`log_dir` to be a directory that can be written. Received: .*file'.*not a dir"
    ):
        trained(compiled(), CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path / "file"))
    with pytest.raises(ValueError, match=r"`log_dir` to be a path or None. Received: 5"):
        trained(compiled(), CalibrationCallback((X_VAL, Y_VAL), log_dir=5))


@pytest.mark.parametrize("image_every", [-1, 0.5])
def test_bad_image_every(image_every):
    with pytest.raises(ValueError, match="`image_every` to be an integer of at least 0"):
        CalibrationCallback((X_VAL, Y_VAL), image_every=image_every)


def test_the_log_changes_nothing(tmp_path):
    with_it, without = compiled(network(seed=2)), compiled(network(seed=2))
    keras.utils.set_random_seed(5)
    history = trained(with_it, CalibrationCallback((X_VAL, Y_VAL), log_dir=tmp_path))
    keras.utils.set_random_seed(5)
    assert history == trained(without, CalibrationCallback((X_VAL, Y_VAL)))
