import numpy as np
import pytest

from keras_ls.data import read_predictions

LABELS, LOGITS = np.array([2, 0, 1]), np.array([[0.1, 0.2, 0.3], [3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])


def npz(folder, **arrays):
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def csv(folder, text):
    (folder / "mine.csv").write_text(text)
    return folder / "mine.csv"


@pytest.mark.parametrize(
    "names", [("labels", "logits"), ("y_true", "y_pred"), ("ground_truth", "predictions"), ("a", "b")]
)
def test_arrays_by_usual_names_or_by_shape(tmp_path, names):
    file = read_predictions(npz(tmp_path, **dict(zip(names, (LABELS, LOGITS)))), from_logits=True)
    np.testing.assert_array_equal(file.labels, LABELS)
    np.testing.assert_array_equal(file.predictions, LOGITS)
    assert file.sample_weight is None and file.class_names is None


def test_the_flag_tells_logits_from_probabilities(tmp_path):
    path = npz(tmp_path, labels=LABELS, logits=LOGITS, probabilities=LOGITS / 10, sample_weight=[1.0, 2.0, 0.0])
    assert read_predictions(path, from_logits=True).predictions[1, 0] == 3.0
    file = read_predictions(path, from_logits=False)
    assert file.predictions[1, 0] == 0.3
    assert file.sample_weight.tolist() == [1, 2, 0]


def test_names_given_come_first(tmp_path):
    path = npz(tmp_path, labels=LABELS, other=LABELS[::-1], logits=LOGITS, mine=-LOGITS, w=[0.0, 1.0, 1.0])
    file = read_predictions(path, True, labels="other", predictions="mine", sample_weight="w")
    assert (file.labels.tolist(), file.predictions[0, 0], file.sample_weight.tolist()) == ([1, 0, 2], -0.1, [0, 1, 1])


def test_a_column_of_labels_is_flat(tmp_path):
    assert read_predictions(npz(tmp_path, labels=LABELS[:, None], logits=LOGITS), True).labels.shape == (3,)


def test_columns_by_number_and_labels_by_name(tmp_path):
    # c10 is the last of eleven, though it comes first in the file
    head = ["c10", *(f"c{k}" for k in range(10)), "label", "weight"]
    file = read_predictions(csv(tmp_path, ",".join(head) + "\n" + ",".join(map(str, range(11))) + ",c10,2\n"), True)
    assert file.predictions.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0]]
    assert (file.labels.tolist(), file.sample_weight.tolist(), file.class_names[-1]) == ([10], [2], "c10")


def test_a_single_column_is_that_of_the_positive_class(tmp_path):
    file = read_predictions(csv(tmp_path, "y,probability\n1,0.75\n0,0.5\n"), from_logits=False)
    assert (file.labels.tolist(), file.predictions.tolist()) == ([1, 0], [0.75, 0.5])


def test_parquet_of_columns_and_of_lists(tmp_path):
    import pyarrow
    from pyarrow import parquet

    columns = {"label": LABELS, **{f"class_{k}": LOGITS[:, k] for k in (2, 0, 1)}}
    parquet.write_table(pyarrow.table(columns), tmp_path / "columns.parquet")
    parquet.write_table(pyarrow.table({"label": LABELS, "logits": LOGITS.tolist()}), tmp_path / "lists.parquet")
    for name in ("columns", "lists"):
        file = read_predictions(tmp_path / f"{name}.parquet", from_logits=True)
        np.testing.assert_array_equal(file.labels, LABELS)
        np.testing.assert_array_equal(file.predictions, LOGITS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,cat,dog,label\nx7,1.0,2.0,cat\n", r"a column of numbers a class.*id \(string\).*Leave the others out"),
        ("cat,dog,label\n1.0,2.0,cow\n", r"names of class columns \(cat, dog\)\. Received: cow"),
        ("cat,dog\n1.0,2.0\n", r"`--labels NAME`.*Received: cat double, dog double"),
        ("cat,dog,label\n", "at least one example"),
    ],
)
def test_tables_that_are_not_clear(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_predictions(csv(tmp_path, text), from_logits=True)


def test_arrays_that_are_not_clear(tmp_path):
    with pytest.raises(ValueError, match=r"`--predictions NAME`.*Received: labels int64\[3\], a float64\[3, 3\], b"):
        read_predictions(npz(tmp_path, labels=LABELS, a=LOGITS, b=LOGITS), from_logits=True)
    with pytest.raises(ValueError, match=r"Expected `labels` to be one of.*Received: 'label'"):
        read_predictions(npz(tmp_path, labels=LABELS, a=LOGITS), from_logits=True, labels="label")


def test_files_that_are_none(tmp_path):
    with pytest.raises(ValueError, match=r"a file \.npz, \.csv, \.parquet\. Received: .*mine\.txt"):
        read_predictions(tmp_path / "mine.txt", from_logits=True)
    with pytest.raises(OSError, match=r"Received: .*mine\.npz, which is not there"):
        read_predictions(tmp_path / "mine.npz", from_logits=True)
    for name in ("mine.npz", "mine.parquet"):
        (tmp_path / name).write_bytes(b"no such thing")
        with pytest.raises(ValueError, match=r"Expected a.*Received: .*mine"):
            read_predictions(tmp_path / name, from_logits=True)
    np.savez(tmp_path / "pickled.npz", labels=np.array([{}, {}]), logits=LOGITS)
    with pytest.raises(ValueError, match=r"written by numpy\.savez.*allow_pickle"):
        read_predictions(tmp_path / "pickled.npz", from_logits=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ",label,a,b\n0,0,1.5,2.0\n1,1,2.5,0.5\n2,0,1.0,0.0\n",
            r"a column 'without a name', which looks like an index",
        ),
        ("id,label,a,b\n7,0,1.5,2.0\n8,1,2.5,0.5\n9,0,1.0,0.0\n", r"a column 'id', which looks like an index"),
        (
            "label,a,b\n0,1.5,2.0\n1,,0.5\n",
            r"`predictions` without missing values or NaN\. Received: 1, the first in row 1",
        ),
        ("label,a,b\n0,1.5,2.0\n,1.0,0.5\n", r"`labels` without missing values"),
        ("label,weight,a,b\n0,x,1.5,2.0\n", r"`sample_weight` to be real numbers"),
    ],
)
def test_what_is_no_prediction_is_told(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_predictions(csv(tmp_path, text), from_logits=True)


def test_arrays_of_text_and_of_complex_numbers(tmp_path):
    with pytest.raises(ValueError, match=r"labels that are integers, or dense\. Received: <U3\[3\], .*'cat'"):
        read_predictions(npz(tmp_path, labels=np.array(["cat", "dog", "cat"]), logits=LOGITS), True)
    with pytest.raises(ValueError, match=r"`predictions` to be real numbers\. Received: complex128"):
        read_predictions(npz(tmp_path, labels=LABELS, logits=LOGITS.astype(complex)), True)


def test_columns_named_by_the_labels(tmp_path):
    # labels 1 to 3, as the columns say; and a space after a comma is no part of a name
    file = read_predictions(csv(tmp_path, "label, 1, 2, 3\n3,0.5,1.0,2.0\n1,2.5,0.0,1.0\n"), True)
    assert (file.labels.tolist(), file.class_names) == ([2, 0], ("1", "2", "3"))
