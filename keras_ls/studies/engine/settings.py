"""How networks are trained on real data, in every study and whatever its size."""

# Of the learning rates 0.02, 0.05, 0.1, 0.2, 0.4 (MNIST) and 0.01, 0.02, 0.05 (CIFAR-10), each tried once with hard
# labels, the best on the calibration split, or one that its 10,000 examples cannot tell from it.
SETTINGS = {
    "mnist": {"examples": 5_000, "epochs": 20, "batch_size": 128, "learning_rate": 0.1, "decay": "cosine"},
    "cifar10": {
        "network": "alexnet",
        "crop": 24,
        "examples": 5_000,
        "epochs": 30,
        "batch_size": 64,
        "learning_rate": 0.02,
        "decay": "cosine",
    },
}
