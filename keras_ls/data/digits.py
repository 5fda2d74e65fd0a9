"""scikit-learn's digits: 1,797 real handwritten digits of 8×8 pixels, embedded in a dependency, so never downloaded."""

import numpy as np

from keras_ls.data.splits import Splits

TRAIN, CALIBRATION = 700, 400  # the remaining 697 are the test split
NOISE = 0.4  # standard deviation; pixels are in [0, 1]


def digits(noise: float = 0.0) -> Splits:
    """The digits as flat vectors of 64 pixels in [0, 1]; the splits are fixed and stratified.

    Clean, they are too easy to show over-confidence. With Gaussian pixel noise, drawn once an image, a small network
    over-fits and is as over-confident as a ResNet on CIFAR-100.

    Args:
        noise: standard deviation of the pixel noise.

    Returns:
        `Splits` of 700, 400 and 697 examples.

    Examples:
        >>> import keras_ls as kls
        >>> data = kls.data.load("digits-noise")
        >>> data.train[0].shape, data.calibration[0].shape, data.test[0].shape
        ((700, 64), (400, 64), (697, 64))

    Reference:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, y = (x / 16.0).astype("float32"), y.astype("int64")
    if noise:
        x = x + np.random.default_rng(0).normal(0.0, noise, x.shape).astype("float32")
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, train_size=TRAIN, stratify=y, random_state=0)
    x_calibration, x_test, y_calibration, y_test = train_test_split(
        x_rest, y_rest, train_size=CALIBRATION, stratify=y_rest, random_state=0
    )
    return Splits(
        name="digits-noise" if noise else "digits",
        train=(x_train, y_train),
        calibration=(x_calibration, y_calibration),
        test=(x_test, y_test),
        class_names=tuple(str(digit) for digit in range(10)),
        source="scikit-learn's handwritten digits" + (f" with Gaussian pixel noise of {noise}" if noise else ""),
    )
