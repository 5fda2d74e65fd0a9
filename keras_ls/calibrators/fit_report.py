"""What every fit reports."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FitReport:
    """What a fit found; `report["nll_after"]` reads like `report.nll_after`.

    Attributes:
        converged: whether the fit is the optimum.
        nll_before: mean negative log-likelihood of the logits as they came, nats.
        nll_after: the same of the calibrated ones.
        iterations: passes over the data.
        weight: the sum of the weights.
        advice: what the user should know of the data, else None.
    """

    converged: bool
    nll_before: float
    nll_after: float
    iterations: int
    weight: float
    advice: str | None = None

    def __getitem__(self, name):
        return getattr(self, name)
