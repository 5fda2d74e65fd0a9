"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 through TensorFlow Datasets, which downloads them once."""

import contextlib
import os
import urllib.error
import urllib.request

import numpy as np

from keras_ls.data.splits import Splits, calibration_cut

CALIBRATION = 10_000  # of the official training set; the paper reports on these where it says validation


def mnist() -> Splits:
    """MNIST: 28×28 grey images of handwritten digits, pixels in [0, 1].

    The official training set is cut by a fixed random permutation: the first n training examples are a random subset.
    The test split is the official one. TensorFlow Datasets keeps the data in ~/tensorflow_datasets, or where the
    environment variable TFDS_DATA_DIR says, and downloads what is not there.

    Returns:
        `Splits` of 50,000, 10,000 and 10,000 examples, images `[N, 28, 28, 1]`.

    Raises:
        OSError: where the data are neither there nor to be had.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.load("mnist").train[0].shape  # doctest: +SKIP
        (50000, 28, 28, 1)

    Reference:
        LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    return _load("mnist", "MNIST", "https://storage.googleapis.com")


def fashion_mnist() -> Splits:
    """Fashion-MNIST: 28×28 grey images of 10 kinds of clothing, pixels in [0, 1].

    Cut and found as `mnist` is.

    Returns:
        `Splits` of 50,000, 10,000 and 10,000 examples, images `[N, 28, 28, 1]`.

    Raises:
        OSError: where the data are neither there nor to be had.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.load("fashion_mnist").class_names[:3]  # doctest: +SKIP
        ('T-shirt/top', 'Trouser', 'Pullover')

    Reference:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
        2017.
    """
    return _load("fashion_mnist", "Fashion-MNIST", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com")


def cifar10() -> Splits:
    """CIFAR-10: 32×32 colour images of 10 kinds of things, pixels in [0, 1].

    Cut and found as `mnist` is.

    Returns:
        `Splits` of 40,000, 10,000 and 10,000 examples, images `[N, 32, 32, 3]`.

    Raises:
        OSError: where the data are neither there nor to be had.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.load("cifar10").class_names[:3]  # doctest: +SKIP
        ('airplane', 'automobile', 'bird')

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    return _load("cifar10", "CIFAR-10", "https://www.cs.toronto.edu")


def cifar100() -> Splits:
    """CIFAR-100: 32×32 colour images of 100 kinds of things, pixels in [0, 1].

    Cut and found as `mnist` is. The classes are the 100 fine ones.

    Returns:
        `Splits` of 40,000, 10,000 and 10,000 examples, images `[N, 32, 32, 3]`.

    Raises:
        OSError: where the data are neither there nor to be had.

    Examples:
        >>> import keras_ls as kls
        >>> kls.data.load("cifar100").class_names[:3]  # doctest: +SKIP
        ('apple', 'aquarium_fish', 'baby')

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    return _load("cifar100", "CIFAR-100", "https://www.cs.toronto.edu")


def _load(name, source, host):
    import tensorflow_datasets as tfds

    # read here, as TensorFlow Datasets reads it only when it is first imported
    folder = os.environ.get("TFDS_DATA_DIR") or None
    try:
        if not tfds.builder(name, data_dir=folder).data_path.exists():
            _check_reachable(host)  # TensorFlow Datasets itself would try for minutes
        parts, info = tfds.load(
            name, split=["train", "test"], data_dir=folder, batch_size=-1, as_supervised=True, with_info=True
        )
    except (OSError, tfds.download.DownloadError) as error:
        raise OSError(
            f"Expected the dataset {name!r} in {folder or '~/tensorflow_datasets'}, or a network to download it from. "
            f"Received: {type(error).__name__}: {error}. Set TFDS_DATA_DIR to a directory of TensorFlow Datasets that "
            f"has {name!r}, or that can be written. On a machine with a network, `import tensorflow_datasets as tfds` "
            f"and `tfds.load({name!r}, data_dir=DIRECTORY)` make one, which can be copied."
        ) from error
    (x, y), test = tfds.as_numpy(parts)
    train, calibration = calibration_cut(len(x), CALIBRATION)
    return Splits(
        name=name,
        train=(_unit(x[train]), y[train].astype("int64")),
        calibration=(_unit(x[calibration]), y[calibration].astype("int64")),
        test=(_unit(test[0]), test[1].astype("int64")),
        class_names=tuple(info.features["label"].names),
        source=source,
    )


def _check_reachable(host):
    with contextlib.suppress(urllib.error.HTTPError):  # which is an answer
        urllib.request.urlopen(host, timeout=10).close()


def _unit(pixels):
    return np.divide(pixels, 255, dtype="float32")
