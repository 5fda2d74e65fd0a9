import decimal
import io
import tracemalloc
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from keras_ls.data import read_predictions

LABELS, LOGITS = np.array([2, 0, 1]), np.array([[0.1, 0.2, 0.3], [3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])


def npz(folder, **arrays):
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def csv(folder, text):
    (folder / "mine.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "mine.csv"


def table(folder, columns):
    parquet.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), folder / "mine.parquet")
    return folder / "mine.parquet"


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


@pytest.mark.parametrize("dtype", [">i4", "uint8", "float32", "float64"])
def test_arrays_of_any_kind_of_number(tmp_path, dtype):
    for logits in (LOGITS.astype(">f4"), LOGITS.astype("longdouble"), np.asfortranarray(LOGITS)):
        file = read_predictions(npz(tmp_path, labels=LABELS.astype(dtype), logits=logits), True)
        assert file.labels.dtype.kind in "iu" and file.labels.tolist() == [2, 0, 1]
        np.testing.assert_allclose(file.predictions, LOGITS, rtol=1e-7)


def test_dense_labels_maps_and_targets_of_the_positive_class(tmp_path):
    one_hot = read_predictions(npz(tmp_path, labels=np.eye(3)[LABELS], logits=LOGITS), True)
    np.testing.assert_array_equal(one_hot.labels, np.eye(3)[LABELS])
    maps = read_predictions(npz(tmp_path, labels=LABELS[None], logits=LOGITS[None]), True)
    assert (maps.labels.shape, maps.predictions.shape) == ((1, 3), (1, 3, 3))
    soft = read_predictions(npz(tmp_path, labels=np.array([0.25, 1.0]), probabilities=np.array([0.5, 0.75])), False)
    assert (soft.labels.tolist(), soft.predictions.tolist()) == ([0.25, 1], [0.5, 0.75])


def test_columns_by_number_and_labels_by_name(tmp_path):
    # c10 is the last of eleven, though it comes first in the file
    head = ["c10", *(f"c{k}" for k in range(10)), "label", "weight"]
    file = read_predictions(csv(tmp_path, ",".join(head) + "\n" + ",".join(map(str, range(11))) + ",c10,2\n"), True)
    assert file.predictions.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0]]
    assert (file.labels.tolist(), file.sample_weight.tolist(), file.class_names[-1]) == ([10], [2], "c10")


def test_a_single_column_is_that_of_the_positive_class(tmp_path):
    for yes, no in (("1", "0"), ("1.0", "0.0"), ("True", "False"), ("TRUE", "FALSE")):
        file = read_predictions(csv(tmp_path, f"y,probability\n{yes},0.75\n{no},0.5\n"), from_logits=False)
        assert (file.labels.tolist(), file.predictions.tolist()) == ([1, 0], [0.75, 0.5])


# Names of class columns in the order of the file, labels as they are written, and the class column of each by its name.
BY_NAME = {
    "names": ("cat,dog", ["dog", "cat"], ["dog", "cat"]),
    "booleans": ("True,False", ["False", "True"], ["False", "True"]),
    "booleans the other way": ("False,True", ["True", "False"], ["True", "False"]),
    "booleans of R": ("TRUE,FALSE", ["FALSE", "TRUE"], ["FALSE", "TRUE"]),
    "booleans in small letters": ("true,false", ["False", "True"], ["false", "true"]),
    "booleans as numbers": ("True,False", ["0", "1"], ["False", "True"]),
    "booleans for numbers": ("p_1,p_0", ["False", "True"], ["p_0", "p_1"]),
    "from 1, the last unseen": ("class1,class2,class3", ["1", "2", "1"], ["class1", "class2", "class1"]),
    "from 1, the first unseen": ("1,2,3", ["3", "2", "2"], ["3", "2", "2"]),
    "of the alphabet": ("class_1,class_10,class_2", ["10", "2", "1"], ["class_10", "class_2", "class_1"]),
    "fractions": ("1.0,2.0,3.0", ["1", "3", "2.0"], ["1.0", "3.0", "2.0"]),
    "labels as fractions": ("X1,X2,X3", ["1.0", "3.0", "2.0"], ["X1", "X3", "X2"]),
    "zeros in front": ("01,02,10", ["10", "2", "1"], ["10", "02", "01"]),
    "not one after the other": ("p.30,p.5,p.20", ["5", "20", "30"], ["p.5", "p.20", "p.30"]),
    "begin alike": ("p_cat,p_cow", ["cow", "cat"], ["p_cow", "p_cat"]),
    "begin with two parts": (
        "prob_new_york,prob_new_jersey",
        ["new_jersey", "new_york"],
        ["prob_new_jersey", "prob_new_york"],
    ),
    "end alike": ("1_prob,2_prob,3_prob", ["2", "1", "2"], ["2_prob", "1_prob", "2_prob"]),
    "in brackets": ("P(cat),P(cow)", ["cow", "cat"], ["P(cow)", "P(cat)"]),
    "names of missing values": ("nan,NA", ["NA", "nan"], ["NA", "nan"]),
}


@pytest.mark.parametrize("case", BY_NAME)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_are_matched_to_columns_by_name(tmp_path, case, kind):
    names, labels, expected = BY_NAME[case]
    names = names.split(",")
    values = {name: [0.25 + 10 * k + row for row in range(len(labels))] for k, name in enumerate(names)}
    if kind == "csv":
        rows = [",".join([label, *(str(values[n][i]) for n in names)]) for i, label in enumerate(labels)]
        path = csv(tmp_path, "\n".join(["label," + ",".join(names), *rows]))
    else:
        path = table(tmp_path, {"label": labels, **values})
    file = read_predictions(path, True)
    assert [file.class_names[k] for k in file.labels] == expected
    # each name still has its own numbers, whatever the order
    assert {name: file.predictions[:, k].tolist() for k, name in enumerate(file.class_names)} == values


def test_positions_of_columns_without_numbers(tmp_path):
    file = read_predictions(csv(tmp_path, "label,no,yes\n1,0.5,1.5\n0,2.5,0.5\n"), True)
    assert (file.labels.tolist(), file.class_names) == ([1, 0], ("no", "yes"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # all three fit positions from 0 and from 1
        ("label,cat,cow,dog\n1,0.5,1.5,2.5\n2,1.5,0.5,2.5\n", r"Received: 1, 2 in .*mine\.csv, without 0.*from 1"),
        ("label,cat,cow,dog\n0,0.5,1.5,2.5\n3,1.5,0.5,2.5\n", r"positions from 0.*Received: 3, .*mine\.csv, line 3"),
        ("label,1,2,3\n0,0.5,1.5,2.5\n1,1.5,0.5,2.5\n", r"numbers in the names.*\(1, 2, 3\).*Received: 0, 1 in .*mine"),
        ("label,1.0,2.0\n1.9,0.5,1.5\n", r"Received: 1\.9 in .*line 2"),
        (
            "label,cat,dog\n0,0.5,1.5\n-0.9,0.5,1.5\n",
            r"Received: -0\.9, the first in .*mine\.csv, line 3, column label",
        ),
        ("label,cat,dog\n0,0.5,1.5\n99999999999999999999999,0.5,1.5\n", "Received: 99999999999999999999999, the first"),
        (
            "label,cat,dog\n0,0.5,1.5\n" + "9" * 5000 + ",0.5,1.5\n",
            r"all integers, or all names .*Received: 0, 9{57}\.\.\., the first in",
        ),
        ("label,cat,dog\nTrue,0.5,1.5\nmaybe,0.5,1.5\n", r"names of class columns \(cat, dog\)\. Received: 1, maybe, "),
        ("label,1,1.0\n1,0.5,1.5\n", r"Received: 1 and 1\.0 in .*one number"),
        ("y,probability\n2,0.5\n", r"labels 0 and 1 beside one class column \(probability\)\. Received: 2, .*line 2"),
        ("y,dog\ndog,0.5\n", r"labels 0 and 1.*Received: dog"),
        ("label,a,b\n0,1.5,2.0\n,1.0,0.5\n", r"`labels` without missing values or NaN.*mine\.csv, line 3"),
    ],
)
def test_labels_that_are_no_classes(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_predictions(csv(tmp_path, text), from_logits=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",label,a,b\n0,0,1.5,2.0\n1,1,2.5,0.5\n2,0,1.0,0.0\n", "a column without a name in .*mine.csv.*like an index"),
        ("number,label,a,b\n7,0,1.5,2.0\n8,1,2.5,0.5\n9,0,1.0,0.0\n", "a column 'number', which looks like an index"),
        ("id,cat,dog,label\nx7,1.0,2.0,cat\n", r"Received: 'x7' in .*mine\.csv, line 2, column id\. Leave out"),
        ("id,label,a,b\n9,0,1.5,2.0\n2,1,2.5,0.5\n", r"Received: a column 'id'.*`--predictions NAMES`"),
        ("number,label,a,b\n9,0,1.5,2.0\n2,1,2.5,0.5\n", "a column 'number', which looks like something else"),
        ("guess,label,cat,dog\n0,cat,1.5,2.0\n1,dog,2.5,0.5\n", "a column 'guess', which looks like something else"),
        ("guess,label,cat,dog\ncat,cat,1.5,2.0\n", "Received: 'cat' in .*line 2, column guess"),
        ("Predicted Class,label,a,b\n0.0,0,1.5,2.0\n", "a column 'Predicted Class'"),
        ("label,a,b,confidence\na,1.5,2.0,0.6\nb,2.5,0.5,0.9\n", "a column 'confidence'"),
        ("label,a,b,Weight\na,1.5,2.0,0.6\nb,2.5,0.5,0.9\n", "a column 'Weight'"),
        ("label,class_0,class_1,speed\n0,1.5,2.0,0.6\n1,2.5,0.5,0.9\n", "It may be speed"),
        ("label,0,1,speed\n0,1.5,2.0,0.6\n1,2.5,0.5,0.9\n", r"\(0, 1, speed\).*It may be speed"),
        ("label,True,False,speed\nTrue,1.5,2.0,0.6\nFalse,2.5,0.5,0.9\n", "It may be speed"),
        ("label,class_0,class_1,fold_2\n0,1.5,2.0,1\n1,2.5,0.5,2\n", r"numbers in the names .*Received: 0, 1"),
        ("label,target,a,b\n0,0,1.5,2.0\n", "`--labels NAME`.*Received: label, target, a, b"),
        ("label,weight,weights,a,b\n0,1,1,1.5,2.0\n", "`--sample-weight NAME`.*Received: weight, weights, a, b"),
        ("label,pred\n1,1\n0,1\n", "scores.*Received: integers in .*mine.csv, column pred, .*predicted classes"),
        ("cat,dog\n1.0,2.0\n", r"`--labels NAME`.*Received: cat, dog in "),
        ("label\n1\n", r"a column of numbers a class\. Received: label in "),
    ],
)
def test_what_is_no_class_is_told(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_predictions(csv(tmp_path, text), from_logits=True)


def test_a_column_that_is_no_class_does_not_sum_to_one(tmp_path):
    path = csv(tmp_path, "label,cat,dog,speed\ncat,0.75,0.25,0.0\ndog,0.25,0.75,0.5\n")
    with (
        pytest.warns(UserWarning, match="of the class speed"),
        pytest.raises(ValueError, match=r"sum to 1 in every row\. Received: a sum of 1\.5 in .*mine\.csv, line 3"),
    ):
        read_predictions(path, from_logits=False)


def test_a_class_without_an_example_is_warned_about(tmp_path):
    text = "label,cat,cow,dog\ncat,0.5,1.5,2.5\ndog,1.5,0.5,2.0\n"
    with pytest.warns(UserWarning, match=r"mine\.csv is of the class cow\."):
        file = read_predictions(csv(tmp_path, text), True)
    assert (file.labels.tolist(), file.class_names) == ([0, 2], ("cat", "cow", "dog"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # the user says so, or numbers do
        assert read_predictions(csv(tmp_path, text), True, predictions="cat,cow,dog").labels.tolist() == [0, 2]
        text = text.replace("cat", "c1").replace("cow", "c2").replace("dog", "c3")
        assert read_predictions(csv(tmp_path, text), True).labels.tolist() == [0, 2]


def test_positions_without_an_example_are_warned_about(tmp_path):
    message = "of the class dog, as labels are positions of the columns cat, cow, dog"
    with pytest.warns(UserWarning, match=message):
        file = read_predictions(csv(tmp_path, "label,cat,cow,dog\n0,0.5,1.5,2.5\n1,1.5,0.5,2.0\n"), True)
    assert file.labels.tolist() == [0, 1]
    with pytest.warns(UserWarning, match="of the class 7"):  # a number beside names
        file = read_predictions(csv(tmp_path, "label,cat,7\ncat,0.5,1.5\n"), True)
    assert file.class_names == ("cat", "7")


def test_class_columns_that_the_user_names(tmp_path):
    path = csv(tmp_path, "id,label,p_b,p_a,q_b,q_a,y_pred\nx,b,1.0,2.0,3.0,4.0,b\ny,a,5.0,6.0,7.0,8.0,a\n")
    for predictions in ("q_*", "q_a, q_b", "q_b,q_a"):
        file = read_predictions(path, True, predictions=predictions)
        assert (file.labels.tolist(), file.class_names) == ([0, 1], ("q_b", "q_a"))
        assert file.predictions.tolist() == [[3, 4], [7, 8]]
    with pytest.raises(ValueError, match=r"`predictions` to be one of 'id', 'p_b'.*Received: 'r_\*'"):
        read_predictions(path, True, predictions="r_*")


def test_ignored_examples_are_left_out(tmp_path):
    # class 0 is no class here: labels of 1 to 3 are the columns, and what stands beside 0 does not count
    text = "label,weight,1,2,3\n0,1,0.5,1.5,2.5\n3,2,1.5,0.5,2.5\n0,1,nan,1.5,2.5\n1,3,2.5,0.5,1.5\n2,1,inf,0.0,0.5\n"
    with pytest.raises(ValueError, match=r"Received: inf in .*mine\.csv, line 6, column 1"):
        read_predictions(csv(tmp_path, text), True, ignore_class=0)
    file = read_predictions(csv(tmp_path, text.replace("inf", "3.5")), True, ignore_class=0)
    assert (file.labels.tolist(), file.sample_weight.tolist()) == ([2, 0, 1], [2, 3, 1])
    assert file.predictions.tolist() == [[1.5, 0.5, 2.5], [2.5, 0.5, 1.5], [3.5, 0, 0.5]]
    path = npz(tmp_path, labels=[[-1, 0, 1]], logits=LOGITS[None], sample_weight=[2.0])
    file = read_predictions(path, True, ignore_class=-1)
    assert (file.labels.tolist(), file.sample_weight.tolist()) == ([0, 1], [2, 2])
    np.testing.assert_array_equal(file.predictions, LOGITS[1:])
    with pytest.raises(ValueError, match="an example that is not ignored"):
        read_predictions(csv(tmp_path, "label,a,b\n7,0.5,1.5\n"), True, ignore_class=7)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbflabel,cat,dog\r\ndog,0.5,1.5\r\ncat,2.5,-1e-1\r\n",
        b'\xef\xbb\xbf"label","cat","dog"\n"dog","0.5","1.5"\n"cat","2.5","-.1"\n',
        b"\n\nlabel , cat, dog \n\n dog, 0.5 , 1.5\n   \ncat,+2.5,-0.1\n\n",
        b'label, "cat", "dog"\rdog,0.5,1.5\rcat,2.5,-0.1',
    ],
)
def test_text_of_any_program(tmp_path, text):
    file = read_predictions(csv(tmp_path, text), True)
    assert (file.labels.tolist(), file.class_names) == ([1, 0], ("cat", "dog"))
    assert file.predictions.tolist() == [[0.5, 1.5], [2.5, -0.1]]


def test_names_with_commas(tmp_path):
    file = read_predictions(csv(tmp_path, 'label,"cat, grey",dog\n"cat, grey",0.5,1.5\ndog,1.5,0.5\n'), True)
    assert (file.labels.tolist(), file.class_names) == ([0, 1], ("cat, grey", "dog"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a line of column names.*mine.csv, which is empty"),
        ("label,a,b\n", "at least one example.*mine.csv without a row"),
        ("0.1,0.2,0\n0.3,0.4,1\n", r"Received: 0\.1, 0\.2, 0 in .*Line 1 has to name the columns"),
        ("cat,0.2,0.3\ndog,0.4,0.5\n", "Line 1 has to name the columns"),
        ("label;a;b\n0;0,5;1,5\n", "Separate the cells by commas, and write numbers with a point"),
        ("label\ta\tb\n0\t0.5\t1.5\n", "Separate the cells by commas"),
        ("label,a,a\n0,0.5,1.5\n", "columns of different names. Received: 'a' twice in .*mine.csv"),
        ("label,a, a\n0,0.5,1.5\n", "columns of different names. Received: 'a' twice"),
        ("label,a,b\n0,0.5,1.5\n1,0.5\n", "3 cells in every line.*Received: 2 in .*mine.csv, line 3"),
        ("label,a,b\n0,0.5,1.5,2.5\n", "Received: 4 in .*mine.csv, line 2"),
        ('label,a,b\n0,0.5,"1.5\n1,0.5,1.5\n', r"separated by commas.*mine\.csv, after line 3 \(unexpected end"),
        ('label,a,b\n0,0.5,"1,234.5"\n', "`predictions` to be real numbers. Received: '1,234.5' in .*line 2, column b"),
        ("label,a,b\n\n0,0.5,1_000.5\n", "Received: '1_000.5' in .*line 3, column b"),
        ("label,a,b\n0,0.5,1.5\n1,,0.5\n", "`predictions` without missing values or NaN.*an empty cell in .*line 3"),
        ("label,a,b\n0,0.5,1.5\n1,0.5,NaN\n", "without missing values or NaN. Received: nan in .*line 3, column b"),
        ("label,a,b\n0,0.5,1.5\n1,Inf,0.5\n", "finite `predictions`. Received: inf in .*line 3, column a"),
        ("label,a,b\n0,0.5,1e300\n", r"finite `predictions`. Received: 1e\+300 in .*line 2, column b"),
        ("label,a,b\n0,0.5,1.5\n1,-inf,-inf\n", "a finite logit in every row.*line 3"),
        ("label,weight,a,b\n0,x,1.5,2.0\n", "`sample_weight` to be real numbers. Received: 'x' in .*line 2, column w"),
        ("label,weight,a,b\n0,-1,1.5,2.0\n", r"`sample_weight` of finite numbers from 0. Received: -1.0 in .*line 2"),
        ("label,weight,a,b\n0,1,1.5,2.0\n1,inf,1.5,2.0\n", "Received: inf in .*line 3, column weight"),
        ("label,weight,a,b\n0,0,1.5,2.0\n", "an example of positive weight. Received: a weight of 0 in .*line 2"),
        ("label,caf\xe9,b\n0,1.5,2.0\n".encode("latin-1"), r"UTF-8 text\. Received: .*mine\.csv"),
        ("label,a,b\n0,1.5,2.0\n".encode("utf-16"), r"UTF-8 text\. Received: .*mine\.csv"),
        ("label,a,b\n0,1.5,2.0\n".encode("utf-16-le"), r"UTF-8 text\. Received: .*mine\.csv.*NUL"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_predictions(csv(tmp_path, text), from_logits=True)


def test_probabilities_outside_the_unit_interval(tmp_path):
    with pytest.raises(
        ValueError, match=r"`--probabilities` in \[0, 1\]\. Received: -0\.5 in .*line 3, column a, and 1"
    ):
        read_predictions(csv(tmp_path, "label,a,b\n0,0.9,0.1\n1,-0.5,1.5\n"), from_logits=False)
    file = read_predictions(csv(tmp_path, "label,a,b\n0,-0.0005,1.0005\n"), from_logits=False)  # of half precision
    assert file.predictions.tolist() == [[-0.0005, 1.0005]]


def test_a_class_that_is_ruled_out(tmp_path):
    file = read_predictions(csv(tmp_path, "label,a,b\n0,1.5,2.0\n1,-inf,0.5\n"), True)
    assert file.predictions.tolist() == [[1.5, 2], [-np.inf, 0.5]]


def test_parquet_of_columns_and_of_lists(tmp_path):
    columns = {"label": LABELS, **{f"class_{k}": LOGITS[:, k] for k in (2, 0, 1)}}
    lists = LOGITS.tolist()
    chunks = pa.chunked_array([pa.array([[9.0] * 3, *lists[:2]])[1:], pa.array(lists[2:])])  # a slice, and the rest
    decimals = [[decimal.Decimal(str(x)) for x in row] for row in lists]
    for kind in (
        pa.table(columns),
        pa.table({"label": LABELS, "logits": lists}),
        pa.table({"label": LABELS, "logits": chunks}),
        pa.table({"label": LABELS, "logits": pa.array(lists, pa.large_list(pa.float64()))}),
        pa.table({"label": LABELS, "logits": pa.array(lists, pa.list_(pa.float64(), 3))}),
        pa.table({"label": LABELS, "logits": pa.FixedShapeTensorArray.from_numpy_ndarray(LOGITS)}),
        pa.table({"label": LABELS, "logits": pa.array(decimals, pa.list_(pa.decimal128(5, 2)))}),
        pa.table({"label": LABELS, "logits": lists, "probabilities": [[1.0, 0.0, 0.0]] * 3}),
    ):
        file = read_predictions(table(tmp_path, kind), from_logits=True)
        np.testing.assert_array_equal(file.labels, LABELS)
        np.testing.assert_array_equal(file.predictions, LOGITS)


def test_parquet_of_other_types(tmp_path):
    columns = {
        "label": pa.array(["dog", "cat"]).dictionary_encode(),
        "cat": pa.array([0.5, 1.5], pa.float16()),
        "dog": pa.array([decimal.Decimal("2.5"), decimal.Decimal("0.5")]),
        "weight": pa.array([1, 2], pa.int8()).dictionary_encode(),
    }
    file = read_predictions(table(tmp_path, columns), True)
    assert (file.labels.tolist(), file.predictions.tolist()) == ([1, 0], [[0.5, 2.5], [1.5, 0.5]])
    assert file.sample_weight.tolist() == [1, 2]
    for labels in ([True, False], [1, 0], [1.0, 0.0], [decimal.Decimal("1.0"), decimal.Decimal("0.0")]):
        columns = {"label": labels, "True": [0.5, 1.5], "False": [2.5, 0.5]}
        assert read_predictions(table(tmp_path, columns), True).labels.tolist() == [0, 1]


def test_lists_are_read_as_arrays(tmp_path):
    # 4 MB of float32; as Python's numbers they would take 32 bytes each, a pointer and an object: 32 MB
    values = np.arange(1_000_000, dtype="float32").reshape(2000, 500)
    lists = pa.FixedSizeListArray.from_arrays(values.ravel(), 500).cast(pa.list_(pa.float32()))
    path = table(tmp_path, {"label": np.arange(2000) % 500, "logits": lists})
    read_predictions(path, True)  # imports
    tracemalloc.start()
    file = read_predictions(path, True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(file.predictions, values)
    assert file.predictions.dtype == np.float32 and peak < 8e6


TWO = [[0.5, 1.5], [2.5, 0.5]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0, 1], "a": TWO, "b": TWO}, r"one column of lists.*Received: a, b in .*`--predictions NAME`"),
        ({"label": [0, 1], "logits": TWO, "features": TWO}, "one column of lists.*Received: logits, features in"),
        ({"label": [0, 1], "logits": TWO, "b": [0.5, 1.5]}, "one column of lists.*Received: logits, b in"),
        ({"label": [0, 1], "a": [[0.5], [1.5, 2.5]]}, r"lists of one length in .*Received: \[1, 2\]"),
        ({"label": [0, 1], "a": [None, [1.5, 2.5]]}, r"lists of one length.*rows without a list"),
        (
            {"label": [0, 1], "a": [[0.5, 1.5], [1.5, None]]},
            r"missing values.*a null in .*mine\.parquet, row 1 \(count",
        ),
        ({"label": [0, 1], "a": [[0.5, 1.5], [1.5, np.nan]]}, r"missing values.*nan in .*parquet, row 1 .*column a"),
        ({"label": [0, 1], "a": [[[0.5]], [[1.5]]]}, "`predictions` to be real numbers. Received: list<"),
        ({"label": [0, 1], "a": [["x"], ["y"]]}, "`predictions` to be real numbers. Received: string"),
        ({"label": [0, 1], "a": pa.array([[], []], pa.list_(pa.float64()))}, "lists of one length"),
        ({"label": [0, 1.9], "a": TWO}, r"integers from 0 to 1\. Received: 1\.9, the first in .*row 1"),
        ({"label": [0, 2], "a": TWO}, r"integers from 0 to 1\. Received: 2, "),
        ({"label": ["a", "b"], "a": TWO}, "integers from 0 to 1"),
        ({"label": [0, None], "a": TWO}, r"`labels` without missing values.*mine\.parquet, row 1"),
        ({"label": [0.0, np.nan], "a": TWO}, r"`labels` without missing values.*mine\.parquet, row 1"),
        ({"label": pa.nulls(2), "a": TWO}, "`labels` without missing values"),
        ({"label": pa.array([0, 2**64 - 1], pa.uint64()), "a": TWO}, "Received: 18446744073709551615"),
        ({"label": [[0, 1], [1, 0]], "a": TWO}, "one label a row. Received: list<"),
        (
            {"label": ["a", "b"], "a": [0.5, 1.5], "b": [True, False]},
            "to be real numbers. Received: bool in .*column b",
        ),
        ({"label": ["a", "b"], "a": [0.5, None], "b": [0.5, 1.5]}, r"a null in .*row 1 .*column a"),
        (
            {"label": [1, 0], "0": [0.5, 1.5], "1": [0.5, 1.5], "__index_level_0__": [7, 3]},
            "It may be __index_level_0__",
        ),
        ({"label": pa.array([], "int64"), "a": pa.array([], "float64"), "b": pa.array([], "float64")}, "one example"),
        ({"label": pa.array([], "int64"), "a": pa.array([], pa.list_(pa.float64()))}, "at least one example"),
        (pa.table([[0, 1], [0.5, 1.5], [0.5, 1.5]], names=["label", "a", " a"]), "'a' twice in .*mine.parquet"),
        ({}, "Received: nothing in"),
    ],
)
def test_parquet_that_is_not_clear(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        read_predictions(table(tmp_path, columns), from_logits=True)


def test_one_of_several_columns_of_lists(tmp_path):
    path = table(tmp_path, {"id": ["x", "y"], "label": [0, 1], "features": [[9.0], [8.0]], "outputs": TWO})
    assert read_predictions(path, True, predictions="outputs").predictions.tolist() == TWO


def test_arrays_that_are_not_clear(tmp_path):
    with pytest.raises(ValueError, match=r"`--predictions NAME`.*Received: labels int64\[3\], a float64\[3, 3\], b"):
        read_predictions(npz(tmp_path, labels=LABELS, a=LOGITS, b=LOGITS), from_logits=True)
    with pytest.raises(ValueError, match=r"Expected `labels` to be one of.*Received: 'label'"):
        read_predictions(npz(tmp_path, labels=LABELS, a=LOGITS), from_logits=True, labels="label")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"targets": LABELS},
            r"`--labels NAME`.*Received: labels int64\[3\], logits .*targets int64\[3\] in .*mine\.npz",
        ),
        ({"labels": np.array(3)}, r"one label an example, \[3\].*Received: \[\] in .*mine\.npz, labels"),
        ({"logits": np.array(3.0)}, r"at least one example\. Received: float64\[\] in .*mine\.npz, logits"),
        ({"labels": LABELS[:0], "logits": LOGITS[:0]}, r"at least one example\. Received: float64\[0, 3\]"),
        ({"labels": LABELS[:2]}, r"one label an example, \[3\] as the predictions. Received: \[2\] in"),
        ({"labels": np.array([0, 1.9, -0.9])}, r"integer labels from 0 to 2\. Received: 1\.9 in .*npz, labels\[1\]"),
        ({"labels": np.array([0, 1, 2**64 - 1], "uint64")}, r"Received: 18446744073709551615 in .*labels\[2\]"),
        ({"labels": np.array([0, 1, np.nan])}, r"`labels` without missing values.*nan in .*labels\[2\]"),
        (
            {"labels": np.array(["cat", "dog", "cat"])},
            r"labels that are integers, or dense\. Received: <U3\[3\], .*'cat'",
        ),
        ({"labels": np.array([{}, 1, 2])}, r"written by numpy\.savez.*mine\.npz, labels.*allow_pickle"),
        ({"logits": LOGITS.astype(complex)}, r"`predictions` to be real numbers\. Received: complex128 in .*logits"),
        ({"logits": LABELS}, r"scores\. Received: int64\[3\] in .*mine\.npz, logits, which are predicted classes"),
        ({"logits": LOGITS > 2}, r"scores\. Received: bool\[3, 3\] in .*mine\.npz, logits"),
        ({"logits": np.where(LOGITS == 4, np.nan, LOGITS)}, r"Received: nan in .*mine\.npz, logits\[2, 2\]"),
        (
            {"logits": np.where(LOGITS == 4, np.inf, LOGITS)},
            r"finite `predictions`\. Received: inf in .*logits\[2, 2\]",
        ),
        ({"weights": np.array([1, np.inf, 1])}, r"finite numbers from 0\. Received: inf in .*mine\.npz, weights\[1\]"),
        ({"weights": np.array([1, 1, -1])}, r"finite numbers from 0\. Received: -1 in .*weights\[2\]"),
        ({"weights": np.array([np.nan, 1, 1])}, r"`sample_weight` without missing values or NaN.*weights\[0\]"),
        ({"weights": np.zeros(3)}, "an example of positive weight"),
        ({"weights": np.ones((2, 2))}, r"one number an example, \[3\].*Received: float64\[2, 2\] in .*weights"),
        ({"weights": np.array(1.0)}, r"`sample_weight` of at least one example"),
        ({"weights": np.array(["a", "b", "c"])}, "`sample_weight` to be real numbers"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        read_predictions(npz(tmp_path, **{"labels": LABELS, "logits": LOGITS, **arrays}), from_logits=True)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive(folder, **members):
    with zipfile.ZipFile(folder / "mine.npz", "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "."), content)
    return folder / "mine.npz"


def test_other_members_are_left_alone(tmp_path):
    whole = {"labels__npy": npy(LABELS), "logits__npy": npy(LOGITS)}
    file = read_predictions(archive(tmp_path, readme__txt="from 2026", damaged__npy=b"no such thing", **whole), True)
    np.testing.assert_array_equal(file.labels, LABELS)
    np.testing.assert_array_equal(file.predictions, LOGITS)


def test_members_that_cannot_be_read(tmp_path):
    huge = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
    np.lib.format.write_array_header_1_0(huge, header)
    for content, message in (
        (b"no such thing", "magic string"),
        (npy(LOGITS)[:-8], r"float64\[3, 3\] in 64 bytes"),
        (huge.getvalue(), r"float64\[1000000000000, 3\] in 0 bytes"),
        (huge.getvalue().replace(b"(1000000000000, ", b"(-100000000000, "), "float64"),
    ):
        with pytest.raises(ValueError, match=rf"numpy\.savez. Received: .*mine\.npz, logits \(.*{message}"):
            read_predictions(archive(tmp_path, labels__npy=npy(LABELS), logits__npy=content), True)
    with pytest.raises(ValueError, match=r"mine\.npz \(an archive without arrays\)"):
        read_predictions(archive(tmp_path, readme__txt="from 2026"), True)
    with pytest.warns(UserWarning, match="Duplicate"):
        archive(tmp_path, labels__npy=npy(LABELS), **{"labels.npy": npy(LABELS)})
    with pytest.raises(ValueError, match=r"mine\.npz \(labels twice\)"):
        read_predictions(tmp_path / "mine.npz", True)


def test_encrypted_members(tmp_path):
    whole = bytearray(archive(tmp_path, labels__npy=npy(LABELS), logits__npy=npy(LOGITS)).read_bytes())
    for start, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # local and central headers
        at = whole.find(start)
        while at >= 0:
            whole[at + flag] |= 1
            at = whole.find(start, at + 1)
    (tmp_path / "mine.npz").write_bytes(whole)
    with pytest.raises(ValueError, match=r"Received: .*mine\.npz, logits \(.*encrypted"):
        read_predictions(tmp_path / "mine.npz", True)


@pytest.mark.parametrize("kind", ["npz", "columns", "lists", "csv"])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    path = {
        "npz": lambda: npz(tmp_path, labels=LABELS, logits=LOGITS),
        "columns": lambda: table(tmp_path, {"label": ["a", "b"], "a": [0.5, 1.5], "b": [2.5, 0.5]}),
        "lists": lambda: table(tmp_path, {"label": [0, 1], "logits": TWO}),
        "csv": lambda: csv(tmp_path, "label,a,b\na,0.5,1.5\nb,2.5,0.5\n"),
    }[kind]()
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(damaged), 2):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged[: len(damaged) if rng.uniform() < 0.7 else rng.integers(len(damaged))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_predictions(path, True)
            except (ValueError, OSError) as error:
                assert path.name in str(error)
                refused += 1
    assert refused > 75


def test_files_that_are_none(tmp_path):
    with pytest.raises(ValueError, match=r"a file \.npz, \.csv, \.parquet\. Received: .*mine\.txt"):
        read_predictions(tmp_path / "mine.txt", from_logits=True)
    for name in ("mine.npz", "mine.csv", "mine.parquet"):
        with pytest.raises(OSError, match=rf"Received: .*{name}, which is not there"):
            read_predictions(tmp_path / name, from_logits=True)
        (tmp_path / name).mkdir()
        with pytest.raises(OSError, match=rf"Received: .*{name}, which is no file but a directory"):
            read_predictions(tmp_path / name, from_logits=True)
        (tmp_path / name).rmdir()
        for content in (b"", b"no such thing", npy(LOGITS)):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError, match=rf"Expected .*Received: .*{name}"):
                read_predictions(tmp_path / name, from_logits=True)


def test_columns_named_by_the_labels(tmp_path):
    # labels 1 to 3, as the columns say; and a space after a comma is no part of a name
    file = read_predictions(csv(tmp_path, "label, 1, 2, 3\n3,0.5,1.0,2.0\n1,2.5,0.0,1.0\n"), True)
    assert (file.labels.tolist(), file.class_names) == ([2, 0], ("1", "2", "3"))
