"""A teacher's logits on disk, so that it speaks once for many epochs and many students."""

import functools
import math
from collections.abc import Callable, Sequence

import keras

from keras_ls.batches import endless, is_endless
from keras_ls.distillation.forward_pass import checked_inputs
from keras_ls.distillation.losses.distillation_loss import OFF
from keras_ls.distillation.teacher_cache.examples import check_examples, checked_batches, numpy_batches, views
from keras_ls.distillation.teacher_cache.fingerprint import teacher_fingerprint
from keras_ls.distillation.teacher_cache.manifest import CacheManifest
from keras_ls.distillation.teacher_cache.writing import checked_logits, in_inference_mode, write_pass
from keras_ls.files import local_path, one_writer, remove_unfinished
from keras_ls.ops._checks import checked_choice, checked_class, checked_count, checked_positive
from keras_ls.ops._logits import LogitsCheck
from keras_ls.ops._types import Data, PathLike

A_FUNCTION = "a function of x"  # which a manifest cannot hold
IN_MEMORY = 2 << 30  # bytes; more than that is memory-mapped


class TeacherCache:
    """A directory of a teacher's logits by example id and augmentation seed, which refuses what does not belong to it.

    Logits are `values + offset`, in float32 exact, in float16 relative to the largest. With `top_k`, k logits are kept,
    and each of the K - k others is restored as `log mean exp(z)` over them: softmax is right for the k classes and for
    the sum of the others, at other temperatures nearly. `kl_error` is what that costs, measured as it is written.

    Every row carries 64 bits of a hash of its input: rows are joined by id, and another input under an id that is known
    (an edited dataset, other ids, another augmentation seed) is an error when it is read. Shards carry SHA-256 sums,
    are read without pickle, and appear whole: a writer that was killed goes on where it was, to the same bytes.

    Datasets are `tf.data` (on whatever Keras backend) of `(id, (x, ...))`, as `dataset.enumerate()` gives them.

    Args:
        directory: where the cache is, or is to be.
        teacher: a model to check that the cache is its own, or None.

    Attributes:
        directory: a `pathlib.Path`.

    Raises:
        ValueError: for a cache of another teacher or format, or one that is truncated or corrupted.

    Examples:
        >>> import keras, numpy as np, tempfile, tensorflow as tf, keras_ls as kls
        >>> teacher = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="ones")])
        >>> data = tf.data.Dataset.from_tensor_slices((np.eye(2, dtype="float32"), [0, 1])).enumerate()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = kls.distillation.TeacherCache(folder).write(teacher, data, verbose=0)
        ...     x, y = next(iter(cache.join(data.shuffle(2).batch(2))))
        >>> x["teacher_outputs"].numpy().tolist(), cache.kl_error
        ([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], {1.0: {'mean': 0.0, 'max': 0.0}})
    """

    def __init__(self, directory: PathLike, teacher: keras.Model | None = None):
        self.directory = local_path("directory", directory)
        self._teacher_inputs = None
        self._compared = set()  # shards whose SHA-256 was found right
        self._manifest = CacheManifest.read(self.directory)
        if teacher is not None:
            self.check(teacher)

    def __repr__(self):
        if self._manifest is None:
            return f"TeacherCache({str(self.directory)!r}, nothing written)"
        passes = [one for one in self._manifest.facts["passes"] if one["complete"]]
        examples = f" of {passes[0]['examples']:,} examples" if passes else ""
        size = self._manifest.size(self._manifest.seeds()) / 2**20
        return (
            f"TeacherCache({str(self.directory)!r}, {len(passes)} complete pass{'es' * (len(passes) != 1)}{examples}, "
            f"{self.num_classes} classes, {size:.1f} MiB)"
        )

    @property
    def manifest(self) -> dict:
        """A dict of what the cache holds, as in its `manifest.json`."""
        return self._written().facts

    @property
    def augmentation_seeds(self) -> list[int | None]:
        """Seeds of the passes that are complete; `[None]` for a dataset without augmentation."""
        return self._written().seeds()

    @property
    def num_classes(self) -> int:
        """K."""
        return self.manifest["shape"][-1]

    @property
    def kl_error(self) -> dict[float, dict[str, float]]:
        """Temperature → `{"mean", "max"}` in nats: `KL(softmax(z / T) ‖ softmax(ẑ / T))`, ẑ the logits as restored."""
        return self._written().kl_error()

    def check(self, teacher: keras.Model) -> None:
        """Raises `ValueError` when `teacher` is not, weight by weight, the one that the cache is of."""
        self._check_fingerprint(teacher_fingerprint(teacher))

    def _check_fingerprint(self, found):
        written = self.manifest["teacher"]
        if found != written:
            raise ValueError(
                f"Expected the teacher of the cache {self.directory} (fingerprint {written[:12]}…). Received: another "
                f"teacher ({found[:12]}…). The cache is stale for it: write another one, or give that teacher."
            )

    def write(
        self,
        teacher: keras.Model,
        dataset: Data | Callable,
        augmentation_seeds: list[int] | int | None = None,
        batch_size: int = 256,
        dtype: str = "float32",
        top_k: int | None = None,
        shard_size: int = 16384,
        temperatures: Sequence[float] = (1.0,),
        dataset_name: str | None = None,
        verbose: int = 1,
        teacher_inputs: str | Callable | None = None,
    ) -> "TeacherCache":
        """Runs the teacher, in inference mode, over a dataset, once a seed; goes on where another call was stopped.

        A pass that is complete is not read again: only its first batch is compared with the dataset, where `join`
        compares every example.

        Args:
            teacher: a built `keras.Model` that returns logits `[N, ..., K]`.
            dataset: a `tf.data.Dataset` of `(id, (x, ...))` in a fixed order; with augmentation, a function of a seed
                that returns one.
            augmentation_seeds: the seeds, integers; None for one pass without augmentation. More can be added later.
            batch_size: examples a forward pass.
            dtype: "float32" or "float16".
            top_k: how many logits to keep of each example, fewer than K; None for all.
            shard_size: examples a file, rounded up to whole batches.
            temperatures: T to measure `kl_error` at.
            dataset_name: to tell caches apart by, in the manifest.
            verbose: 1 to show the progress, 0 for silence.
            teacher_inputs: what the teacher gets of x, where a student gets something else: a key of the dictionary x,
                or a function of x, as a `Distiller` takes it; None for all.

        Returns:
            The cache.

        Raises:
            ValueError: for another teacher, dataset or settings than those of a cache that is there, and inputs of
                several lengths, as of batches each padded to its own.
            OSError: for a directory that cannot be written, or that another process is writing.
        """
        batch_size = checked_count("batch_size", batch_size)
        shard_size = math.ceil(checked_count("shard_size", shard_size) / batch_size) * batch_size
        settings = {
            "dataset_name": dataset_name,
            "dtype": checked_choice("dtype", dtype, ("float32", "float16")),
            "top_k": None if top_k is None else checked_count("top_k", top_k),
            "batch_size": batch_size,
            "shard_size": shard_size,
            "temperatures": [checked_positive("temperatures", t) for t in temperatures],
        }
        self._teacher_inputs = checked_inputs("teacher_inputs", teacher_inputs)
        if teacher_inputs is not None:
            settings["teacher_inputs"] = A_FUNCTION if callable(teacher_inputs) else teacher_inputs
        passes = views(dataset, augmentation_seeds)
        fingerprint, predict = teacher_fingerprint(teacher), in_inference_mode(teacher)
        with one_writer(self.directory):
            remove_unfinished(self.directory)
            self._manifest = CacheManifest.read(self.directory)
            if self._manifest is None:
                batches = checked_batches(next(iter(passes.values()))(), batch_size, teacher_inputs)
                first = next(numpy_batches(batches), None)
                if first is None:
                    raise ValueError("Expected at least one example. Received: an empty dataset.")
                logits = checked_logits(predict(first[2]))
                check = LogitsCheck("a TeacherCache", OFF)
                check.see_model(teacher)
                check.see(logits)
                shape = logits.shape[1:]
                if top_k is not None and top_k >= shape[-1]:
                    raise ValueError(f"Expected `top_k` below the {shape[-1]} classes. Received: {top_k}.")
                self._manifest = CacheManifest.start(self.directory, fingerprint, settings, shape)
            self._check_fingerprint(fingerprint)
            self._check_settings(settings)
            for seed, view in passes.items():
                write_pass(self._manifest, predict, view(), seed, verbose, teacher_inputs)
        return self

    def verify(self) -> None:
        """Compares every shard with its SHA-256 sum; raises `ValueError` for a truncated or corrupted one."""
        for one in self.manifest["passes"]:
            for shard in one["shards"]:
                self._manifest.read_shard(shard, in_memory=False)

    def join(
        self,
        dataset: Data,
        augmentation_seed: int | None = None,
        verify: bool = True,
        in_memory: bool | None = None,
        teacher_inputs: str | Callable | None = None,
    ) -> Data:
        """Gives every example of a dataset what the teacher said of it, by its id.

        Args:
            dataset: `(id, (x, ...))`, before or after `shuffle` and `batch`; quickest after `batch`.
            augmentation_seed: the seed of the pass, that of the dataset's augmentation.
            verify: whether to compare the inputs with those that the teacher saw.
            in_memory: whether to hold the pass in memory; None up to 2 GB. Otherwise it is memory-mapped.
            teacher_inputs: what of x the teacher got; None for the key that `write` was given. A function has to be
                given again to a cache that another process wrote.

        Returns:
            A dataset of `({"inputs": x, "teacher_outputs": logits}, ...)` without ids, to `fit` a `Distiller` of a
            `CachedTeacher` with. Reading it raises `tf.errors.InvalidArgumentError` for ids that are not in the cache
            and inputs that the teacher did not see.

        Raises:
            ValueError: for a seed that is not in the cache, and a damaged cache.
        """
        from keras_ls.distillation.teacher_cache.join import join

        manifest, seed = self._written(), checked_class("augmentation_seed", augmentation_seed)
        check_examples(dataset)
        one = manifest.one_pass(seed)
        if one is None or not one["complete"]:
            state = "which is not there" if one is None else "which is not complete; call write() again to go on"
            raise ValueError(
                f"Expected `augmentation_seed` to be one of {manifest.seeds()}, as in the cache. "
                f"Received: {seed}, {state}."
            )
        if in_memory is None:
            in_memory = manifest.size([seed]) <= IN_MEMORY
        shards = [
            manifest.read_shard(shard, in_memory, compare=shard["sha256"] not in self._compared)
            for shard in one["shards"]
        ]
        self._compared.update(shard["sha256"] for shard in one["shards"])
        return join(dataset, shards, manifest.facts["shape"], in_memory, verify, self._inputs(teacher_inputs, verify))

    def epochs(
        self,
        view: Callable,
        augmentation_seeds: Sequence[int] | None = None,
        batch_size: int = 32,
        shuffle_seed: int | None = 0,
        shuffle_buffer: int | None = None,
        verify: bool = True,
        teacher_inputs: str | Callable | None = None,
    ) -> Data:
        """A training stream: for each seed its augmented dataset, shuffled, batched and joined, one after the other.

        `fit(stream, epochs=len(seeds), steps_per_epoch=math.ceil(N / batch_size))` then trains an epoch a seed.

        Args:
            view: a function of a seed that returns a dataset of `(id, (x, ...))`, not batched.
            augmentation_seeds: seeds in the order of the epochs; None for all in the cache.
            batch_size: examples a batch.
            shuffle_seed: of the orders, another one each epoch; None to leave the order as it is.
            shuffle_buffer: examples that `shuffle` holds; None for all of them.
            verify: as in `join`.
            teacher_inputs: as in `join`.

        Returns:
            A `tf.data.Dataset`.

        Raises:
            ValueError: as `join`.
        """
        import tensorflow as tf

        manifest = self._written()
        seeds = manifest.seeds() if augmentation_seeds is None else list(augmentation_seeds)
        in_memory = manifest.size(seeds) <= IN_MEMORY
        streams = []
        for epoch, seed in enumerate(seeds):
            data = view(seed)
            if check_examples(data):
                raise ValueError("Expected `view` to return single examples. Received: batches. Leave batch() out.")
            if is_endless(data):
                raise endless("view", "tf.data.Dataset")
            if shuffle_seed is not None:
                buffer = shuffle_buffer or max(one["examples"] for one in manifest.facts["passes"] if one["complete"])
                data = data.shuffle(buffer, seed=shuffle_seed + epoch, reshuffle_each_iteration=False)
            streams.append(self.join(data.batch(batch_size), seed, verify, in_memory, teacher_inputs))
        if not streams:
            raise ValueError("Expected at least one augmentation seed. Received: none.")
        return functools.reduce(tf.data.Dataset.concatenate, streams).prefetch(tf.data.AUTOTUNE)

    def _written(self):
        self._manifest = self._manifest or CacheManifest.read(self.directory)
        if self._manifest is None:
            raise ValueError(
                f"Expected a cache that was written. Received: {self.directory}, without manifest. Call write() first."
            )
        return self._manifest

    def _inputs(self, given, verify):
        if given is not None:
            return checked_inputs("teacher_inputs", given)
        kept = self._manifest.facts["settings"].get("teacher_inputs")
        if kept == A_FUNCTION and self._teacher_inputs is None and verify:
            raise ValueError(
                "Expected `teacher_inputs`, the function of x that the cache was written with, to compare what the "
                "teacher saw. Received: None. Give it, or verify=False."
            )
        return self._teacher_inputs if kept == A_FUNCTION else kept

    def _check_settings(self, settings):
        there = {"teacher_inputs": None, **self._manifest.facts["settings"]}
        for name, value in {"teacher_inputs": None, **settings}.items():
            if there[name] != value:
                raise ValueError(
                    f"Expected {name}={there[name]!r}, as the cache in {self.directory} was written with. "
                    f"Received: {value!r}. Write to another directory."
                )
