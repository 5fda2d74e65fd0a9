"""What a fit found, the same words for every calibrator."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FitReport:
    """What a fit found; `report["nll_after"]` reads like `report.nll_after`.

    Attributes:
        converged: whether no other parameters, within the bounds, have a lower objective.
        nll_before: mean negative log-likelihood of the logits as they came, nats.
        nll_after: the same of the calibrated logits, without penalties.
        iterations: of the solver.
        weight: the sum of the weights as given. Nothing else in a report depends on the scale of weights that are no
            whole numbers.
        advice: what the fit says of the data where they cannot tell the parameters, else None.

    Examples:
        >>> import numpy as np, keras_ls as kls
        >>> scaling = kls.calibrators.TemperatureScaling().fit(np.log([[0.2, 0.8], [0.3, 0.7]]), [1, 0])
        >>> scaling.fit_report.converged, scaling.fit_report["weight"]
        (True, 2.0)
    """

    converged: bool
    nll_before: float
    nll_after: float
    iterations: int
    weight: float
    advice: str | None = None

    def __getitem__(self, name):
        return getattr(self, name)
