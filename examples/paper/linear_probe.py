"""Train a linear probe on image features, as the CLIP paper does.

    python -m examples.paper.linear_probe oxfordpets FOLDER --model ViT-B/32

Source: Radford et al. 2021 (https://arxiv.org/abs/2103.00020), appendix A.3. The features of a ViT
are those before the projection into the space shared with texts. A logistic regression with an L2
penalty is trained with L-BFGS, at most 1,000 iterations. Its strength is chosen on a validation
part of the training images, and the probe is trained again on all of them.

The paper uses scikit-learn; this is the same optimization problem in torch, so that it runs on a
GPU too. `tests/paper/test_linear_probe.py` compares the two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import zeroshot
from examples.paper import options
from examples.paper.datasets.base import DataSet
from zeroshot import metrics
from zeroshot.errors import InputError, shortened

Integers = NDArray[np.int64]

ITERATIONS = 1_000  # at most; appendix A.3
TOLERANCE = 1e-4  # largest derivative of the mean loss at the end; scikit-learn's default
PER_DECADE = 8  # values of C in a factor of 10, at the end of the search; appendix A.3
DECADES = 6  # C is between 1e-6 and 1e6; appendix A.3
FIRST_STEP = 2 * PER_DECADE  # the search starts at 1e-6, 1e-4, ..., 1e6; appendix A.3
VALIDATION = 0.2  # share of the training images of a label; the paper does not state it
# torch's L-BFGS does not learn from a step along which the derivative changes by 1e-10 or less. The
# mean loss has only such steps near the end; this multiple of it has none.
SCALE = 1e6
ROWS = 65_536  # features whose logits are in memory at once


@dataclass(frozen=True)
class Probe:
    """A linear classifier of features.

    Attributes:
        weight: float64 [L, w].
        bias: float64 [L]; minus infinity for labels without training images.
        c: Inverse strength of the L2 penalty, as in scikit-learn.
        converged: Whether the optimization ended before `ITERATIONS`.
    """

    weight: Tensor
    bias: Tensor
    c: float
    converged: bool

    def predict(self, features: Tensor) -> Integers:
        """Return the column of the best label for features [n, w]: int64 [n]."""
        parts = features.to(self.weight.device).split(ROWS)
        best = [(part.double() @ self.weight.T + self.bias).argmax(dim=1) for part in parts]
        return np.asarray(torch.cat(best).cpu().numpy(), np.int64)

    def is_right(self, features: Tensor, truth: Integers) -> NDArray[np.bool_]:
        """Return for each image whether the best label is the right one: bool [n]."""
        return np.asarray(self.predict(features) == truth)


@dataclass(frozen=True)
class Outcome:
    """A probe that was trained on all training images, and its answers on the test images.

    Attributes:
        probe: The final probe.
        validation: Accuracy on the validation part with the chosen C.
        right: Whether each test image was classified correctly: bool [n].
        truth: Column of the right label of each test image: int64 [n].
    """

    probe: Probe
    validation: float
    right: NDArray[np.bool_]
    truth: Integers


def fit(
    features: Tensor,
    truth: Integers,
    labels: int,
    c: float,
    *,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Probe:
    """Train a logistic regression with an L2 penalty on the weights, not on the bias.

    It minimizes the mean cross-entropy + |weight|^2 / (2 c n), as scikit-learn's
    LogisticRegression(C=c). Labels without training images are never predicted.

    Args:
        features: float32 or float64 [n, w]. The work is done on their device, in float64.
        truth: Column of the right label: int64 [n].
        labels: Number of labels L.
        c: Inverse strength of the penalty.
        iterations: Largest number of iterations of L-BFGS.
        tolerance: The optimization ends where no derivative is larger.
    """
    present, own = np.unique(truth, return_inverse=True)
    if len(present) < 2:
        raise InputError(
            f"expected training images of at least 2 labels, got {len(present)}; add images"
        )
    data = features.detach().double()
    columns = torch.from_numpy(own).to(data.device)
    weight = torch.zeros(len(present), data.shape[1], dtype=torch.float64, device=data.device)
    bias = torch.zeros(len(present), dtype=torch.float64, device=data.device)
    # scikit-learn has one row of weights u for 2 labels; here they are u / 2 and -u / 2
    penalty = (2 if len(present) == 2 else 1) / (c * len(data))
    used = _minimize(data, columns, weight, bias, penalty, iterations, tolerance)
    rows = torch.from_numpy(present).to(data.device)
    all_weights = weight.new_zeros(labels, data.shape[1])
    all_weights[rows] = weight
    all_biases = bias.new_full((labels,), -torch.inf)
    all_biases[rows] = bias
    return Probe(all_weights, all_biases, c, used < iterations)


@torch.no_grad()
def _minimize(
    data: Tensor,
    columns: Tensor,
    weight: Tensor,
    bias: Tensor,
    penalty: float,
    iterations: int,
    tolerance: float,
) -> int:
    """Run L-BFGS from weights of 0, in place; return the number of iterations."""
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        max_eval=20 * iterations,  # the line search takes 1 or 2 for an iteration
        tolerance_grad=SCALE * tolerance,
        tolerance_change=SCALE * 64 * torch.finfo(torch.float64).eps,  # scikit-learn's `ftol`
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        # the gradient is written out: autograd would keep all logits
        weight.grad, bias.grad = SCALE * penalty * weight, torch.zeros_like(bias)
        total = SCALE * penalty / 2 * (weight * weight).sum()
        for rows, own in zip(data.split(ROWS), columns.split(ROWS), strict=True):
            chances = torch.log_softmax(rows @ weight.T + bias, dim=1)  # [r, L]
            total -= SCALE / len(data) * chances.gather(1, own[:, None]).sum()
            excess = chances.exp_()
            excess[torch.arange(len(own), device=own.device), own] -= 1
            excess *= SCALE / len(data)
            weight.grad += excess.T @ rows
            bias.grad += excess.sum(dim=0)
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call, unused-ignore]
    return int(optimizer.state[weight].get("n_iter", 0))


def search(accuracy: Callable[[float], float]) -> tuple[float, float]:
    """Return the C of the best accuracy, and that accuracy, by a parametric binary search.

    7 values from 1e-6 to 1e6 are tried first. Then the step, 100, is halved on a logarithmic scale
    around the best value until there are 8 values per decade. This tries 15 of the 97 values. The
    smallest C wins among equals.
    """
    found: dict[int, float] = {}  # exponent, in eighths of a decade -> accuracy

    def best_of(exponents: range | list[int]) -> int:
        for exponent in exponents:
            if exponent not in found and abs(exponent) <= DECADES * PER_DECADE:
                found[exponent] = accuracy(10 ** (exponent / PER_DECADE))
        return max(found, key=lambda exponent: (found[exponent], -exponent))

    step = FIRST_STEP
    best = best_of(range(-DECADES * PER_DECADE, DECADES * PER_DECADE + 1, step))
    while step > 1:
        step //= 2
        best = best_of([best - step, best + step])
    return 10 ** (best / PER_DECADE), found[best]


def split(truth: Integers, *, share: float = VALIDATION, seed: int = 0) -> NDArray[np.bool_]:
    """Choose the validation part of training images, the same share of each label: bool [n].

    A label with two images or more has at least one in each part; a single image is for training.
    """
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(truth), bool)
    for label in np.unique(truth):
        own = random.permutation(np.flatnonzero(truth == label))
        count = min(max(1, round(share * len(own))), len(own) - 1)
        chosen[own[:count]] = True
    return chosen


def choose(features: Tensor, truth: Integers, labels: int, *, seed: int = 0) -> tuple[float, float]:
    """Return the C with the best accuracy on a validation part, and that accuracy."""
    validation = split(truth, seed=seed)
    if not validation.any():
        raise InputError(
            "expected a label with at least 2 training images, to choose C on the second; got one "
            "image for each label"
        )
    held = torch.from_numpy(validation).to(features.device)

    def accuracy(c: float) -> float:
        probe = fit(features[~held], truth[~validation], labels, c)
        return float(probe.is_right(features[held], truth[validation]).mean())

    return search(accuracy)


def linear_probe(model: zeroshot.Model, train: DataSet, test: DataSet, *, seed: int = 0) -> Outcome:
    """Train a probe on the features of a model and test it.

    Raises:
        InputError: Images have several labels, or the parts have different labels.
        ImageError: An image cannot be read.
    """
    if train.labels != test.labels:
        raise InputError("expected training and test images of the same labels, got others")
    labels, truth, wanted = len(train.labels), one_label(train), one_label(test)
    features = model.encode_image(train.images, project=False)
    c, validation = choose(features, truth, labels, seed=seed)
    probe = fit(features, truth, labels, c)
    right = probe.is_right(model.encode_image(test.images, project=False), wanted)
    return Outcome(probe, validation, right, wanted)


def one_label(data: DataSet) -> Integers:
    """Return the column of each image's only label: int64 [n]. Raises InputError for several."""
    for value in data.truth:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputError(
                "expected one label for each image, as the number of its column, got "
                f"{shortened(repr(value))}; a probe for several labels is not supported"
            )
    return np.asarray(data.truth, np.int64)


def interval(right: NDArray[np.bool_]) -> str:
    """Return the accuracy and Wilson's 95% interval as text."""
    low, high = metrics.wilson_interval(int(right.sum()), len(right))
    return f"{right.mean():.1%} (95% interval {low:.1%} to {high:.1%}, {len(right):,} images)"


def describe(outcome: Outcome) -> str:
    """Return the result of a probe as text.

    The paper reports the mean per class for some data sets (its table 9).
    """
    right, truth = outcome.right, outcome.truth
    mean = float(metrics.mean_per_label(right, truth))
    low, high = metrics.bootstrap(
        lambda weights: metrics.mean_per_label(right, truth, weights), len(right)
    )
    lines = [
        f"test accuracy {interval(right)}",
        f"mean per class {mean:.1%} (95% interval {float(low):.1%} to {float(high):.1%})",
        f"C = {outcome.probe.c:.4g}, validation accuracy {outcome.validation:.1%}",
    ]
    if not outcome.probe.converged:
        lines.append(f"The training ended at {ITERATIONS:,} iterations, before convergence.")
    return "\n".join(lines)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the data set, the model and the device."""
    result = options.parser(description)
    result.add_argument("--device", help="torch device, such as cpu or cuda (default: the best)")
    result.add_argument("--seed", type=int, default=0, help="seed of the random choices")
    return result


def read(given: argparse.Namespace) -> tuple[DataSet, DataSet]:
    """Return the training and the test images of the arguments, or samples of them."""
    return options.read(given, "train")[1], options.read(given, "test")[1]


def main(arguments: list[str]) -> None:
    """Print the accuracy of a linear probe on the data set in the arguments."""
    given = options.parse(parser(__doc__), arguments)
    train, test = read(given)
    model = zeroshot.load(given.model, device=given.device)
    print(f"{given.name}, {model.name}: {len(train.images):,} training images")
    print(describe(linear_probe(model, train, test, seed=given.seed)))


if __name__ == "__main__":
    options.run(main)
