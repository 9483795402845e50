"""Replicas over time, as a picture; what to draw comes by standard input, as JSON."""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLORS = {"gateway": "#1f6f8b", "consumer": "#c8553d"}


def main():
    given = json.load(sys.stdin)
    figure, axes = plt.subplots(figsize=(9, 3.6), dpi=120)
    axes.axvspan(*given["span"], color="#000000", alpha=0.06, label="load")
    times = [sample["seconds"] for sample in given["samples"]]
    for name, color in COLORS.items():
        axes.step(times, [sample[name][0] for sample in given["samples"]], where="post", color=color, linestyle=":", label=f"{name}: wanted")
        axes.step(times, [sample[name][1] for sample in given["samples"]], where="post", color=color, linewidth=2, label=f"{name}: ready")
    axes.set(xlabel="seconds", ylabel="pods")
    axes.set_ylim(bottom=0)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.22))
    figure.tight_layout()
    figure.savefig(given["file"])


main()
