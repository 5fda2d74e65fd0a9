"""Can one see in a teacher that it was trained with label smoothing? `keras-ls diagnose` on teachers of known α.

Run: python examples/diagnose_teachers.py   (about 5 minutes on two cores: 60 small networks)
Result: diagnose-teachers.png. Trained for 40 epochs all are told right, and α within 0.012; after 3 epochs, which
is too early, nearly all are called unclear.
"""

import collections
import itertools
import pathlib

import matplotlib.pyplot as plt

import keras_ls as kls

SMOOTHINGS = (0.0, 0.05, 0.1, 0.2, 0.4)
MARKERS = {"yes": ("o", "#0072B2"), "no": ("s", "#222222"), "unclear": ("x", "#D55E00")}


def main(path="diagnose-teachers.png", smoothings=SMOOTHINGS, widths=((32,), (256, 256)), epochs=(3, 40), seeds=3):
    """Trains, prints the verdicts, draws estimated against true α; returns the verdicts by (epochs, widths, α)."""
    verdicts = collections.defaultdict(list)
    for passes, width, alpha in itertools.product(epochs, widths, smoothings):
        for seed in range(seeds):
            training = kls.studies.Training("digits-noise", width, label_smoothing=alpha, epochs=passes, seed=seed)
            verdict = kls.studies.diagnose(training.run(), "digits-noise", part="train").verdict
            verdicts[passes, width, alpha].append(verdict)
        found = verdicts[passes, width, alpha]
        estimates = ", ".join(f"{verdict.alpha:.3f} ({verdict.smoothed})" for verdict in found)
        print(f"{passes} epochs, {'×'.join(map(str, width))}, α={alpha:g}: {estimates}", flush=True)

    figure, axes = plt.subplots(1, len(epochs), figsize=(3.4 * len(epochs), 3.4), layout="constrained", squeeze=False)
    for ax, passes in zip(axes[0], epochs):
        top = 1.1 * max(max(smoothings), *(v.alpha for found in verdicts.values() for v in found))
        ax.plot([0, top], [0, top], color="#999999", lw=0.8, ls="--")
        for answer, (marker, color) in MARKERS.items():
            points = [
                (alpha + (0.004 if width == widths[0] else -0.004), verdict.alpha)  # beside one another
                for (had, width, alpha), found in verdicts.items()
                for verdict in found
                if had == passes and verdict.smoothed == answer
            ]
            style = {"marker": marker, "color": color, "linestyle": "none", "ms": 4, "alpha": 0.7, "label": answer}
            ax.plot(*(zip(*points) if points else ((), ())), **style)
        ax.set(xlabel="true α", ylabel="estimated α", title=f"{passes} epochs", xlim=(-0.03, top), ylim=(-0.03, top))
    axes[0, 0].legend(title="smoothed?", frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
    print(f"Open {pathlib.Path(path).resolve()}.")
    return dict(verdicts)


if __name__ == "__main__":
    main()
