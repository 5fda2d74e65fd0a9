"""The base of the metrics that depend on how many examples the weights stand for.

Whole-number weights are counts of examples, others have no scale; which they are shows at the end only, as the first
batches may hold whole numbers by chance. So a few totals of the weights are kept beside the sums.
"""

from keras import ops as K

from keras_ls.metrics.streaming import StreamingMetric
from keras_ls.ops._types import Tensor
from keras_ls.ops._weights import examples_of_totals, weight_totals
from keras_ls.ops.binning import merge_into_quantile_bins
from keras_ls.ops.calibration import calibration_error_of_bins, examples_of_bins


class CountingMetric(StreamingMetric):
    """A `StreamingMetric` with the totals of its weights, which add up over batches and replicas as the sums do.

    Subclasses' `statistics` returns `(sums, weight)`: sums `[R, ..., B]`, the weights first, and the weights `[M, ...]`
    they were made with, None for all 1. Their `from_statistics` calls `examples(sums)`.
    """

    def build_state(self, shape: tuple[int, ...]) -> None:
        """Makes the sums and the totals, unless they are there."""
        if self._sums is None:
            super().build_state(shape)
            self._totals = self.add_variable((2, 3, *shape[1:-1]), "zeros", dtype="float32", name="totals")

    def _add(self, batch):
        sums, weight = batch
        super()._add(sums)
        if weight is None:
            n = K.sum(sums[0], axis=-1)
            totals = K.stack([n, K.zeros_like(n), n])
        else:
            totals = weight_totals(weight, axis=0)
        self._add_to(self._totals, totals)

    def examples(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """`(examples, counts)`, `[...]` of `[R, ..., B]`: how many the weights stand for; whether they are counts."""
        return examples_of_totals(self.totals(), K.sum(sums[0], axis=-1))

    def totals(self) -> Tensor:
        """What `weight_totals` says of all weights so far."""
        return self._read(self._totals)

    def error_of_sums(self, sums: Tensor) -> Tensor:
        """The calibration error of the bins that the attributes describe; `[K]` of those of K classes."""
        examples, counts = self.examples(sums)
        if self.binning == "quantile":
            sums = merge_into_quantile_bins(sums, self.num_bins, self.closed, examples)
        sizes = examples_of_bins(sums, counts) if self.debiased else None
        return calibration_error_of_bins(sums[:3], self.norm, self.debiased, sizes)
