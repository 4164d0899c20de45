"""Pre-train a small CLIP from scratch on pairs of an image and its caption.

Pre-training
------------
The core of the paper (sections 2.3 to 2.5) at small scale: a ViT and a text transformer of this
package are trained to tell which caption of a batch belongs to which image. The loss is the
symmetric cross-entropy of Figure 3. The temperature is learned: it starts at 0.07, and the logits
are never scaled by more than 100. AdamW decays all weights that are not gains or biases; the rate
rises linearly, then falls to 0 as a cosine. A random square crop is the only augmentation.

    python -m examples.paper.shapes shapes --count 4000
    python -m examples.paper.pretrain shapes/train small.safetensors --minutes 10
    python -m examples.paper.retrieval small.safetensors shapes/test

Measured on two cores of an AMD EPYC that other programs used too, with --minutes 9.5 and seed 0:
74 epochs, about 2,300 steps of 128 pairs, 9.6 minutes, 462 seconds of CPU time. Recall@1 of the
caption of an image is 99.2 % (98.4-99.6) over 1000 new images and 300 captions (chance 0.3 %). It
is 98.2 % (97.2-98.9) over 1000 images of `shapes/unseen`, whose 74 captions are new combinations of
words (chance 1.4 %). What counts is the number of steps: on a slower machine, give more minutes, or
--epochs 74. The loss of chance is ln(128) = 4.85; a run of one minute can end there.

PAIRS is a folder, a table or a tar file, as `examples.paper.pairs` describes. `zeroshot.load` reads
the result like any other checkpoint. Images that cannot be read are skipped, counted and reported.

With --epochs the schedule follows the number of steps, and the same seed gives the same weights
with the same machine and number of threads. With --minutes it follows the time. After each epoch
the state is written to OUT.training.safetensors, which --resume continues after an interruption.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from examples.paper import contrastive, options, pairs, training_state
from examples.paper.contrastive import Vocabulary
from examples.paper.pairs import Pairs
from examples.paper.training_state import Progress
from zeroshot import Sample
from zeroshot.arguments import count
from zeroshot.checkpoint.layouts import native
from zeroshot.errors import ImageError, InputError
from zeroshot.images import describe
from zeroshot.images.preprocess import RESAMPLING, Preprocess
from zeroshot.lookahead import run_ahead
from zeroshot.machine import cores
from zeroshot.nn.network import Network
from zeroshot.spec import Spec
from zeroshot.tokenizers import ClipTokenizer

EPOCHS = 30  # if neither --epochs nor --minutes is given
LEARNED = 0.95  # share of the loss of chance; at a share of 0.995, retrieval was still at chance
MARGIN = 16  # images are resized to 1 + 1/16 of the input size before the crop
LONGEST = 3  # aspect ratio of resized images; the ends of longer ones are cut off
MEMORY = 1 << 30  # bytes of resized images that are kept instead of being decoded again


def _setting(default: float, description: str, kind: Callable[[str], Any] | None = None) -> Any:
    """Return a field that is also an option of the command line, converted by `kind`."""
    metadata = {"help": description, "kind": kind or type(default)}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The size of the network and how it is trained; the defaults suit two CPU cores.

    Exactly one of `epochs` and `minutes` is set.
    """

    epochs: int | None = EPOCHS
    minutes: float | None = None
    batch_size: int = _setting(
        128, "pairs per step; the others of a batch are the negatives of each"
    )
    rate: float = _setting(1e-3, "peak learning rate")
    warmup: float = _setting(0.05, "share of the training in which the rate rises")
    seed: int = _setting(0, "seed of the initial weights, the order and the crops", options.seed)
    image_size: int = _setting(64, "side of the input of the image tower in pixels")
    patch_size: int = _setting(16, "side of a patch in pixels")
    width: int = _setting(128, "width of both towers; a head of attention per 64")
    layers: int = _setting(4, "blocks of the image tower")
    text_layers: int = _setting(2, "blocks of the text tower")
    embed_dim: int = _setting(128, "dimensions of the embeddings")

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            both = f"{self.epochs} epochs and {self.minutes} minutes"
            given = "none" if self.epochs is None else both
            raise InputError(f"expected --epochs or --minutes, got {given}; give one of them")
        length = self.epochs if self.minutes is None else self.minutes
        if not length or not 0 < length < math.inf:
            raise InputError(f"expected a length of training above 0, got {length!r}")
        if self.batch_size < 2 or not 0 < self.rate < 1 or not 0 < self.warmup < 1:
            raise InputError(
                "expected a batch of 2 pairs or more, a rate and a warm-up between 0 and 1, got "
                f"{self.batch_size}, {self.rate} and {self.warmup}"
            )
        count("seed", self.seed, 0, most=options.LARGEST_SEED)
        if problem := next(self.spec.problems(), None):
            name, value, expected = problem
            raise InputError(f"expected {name} to be {expected}, got {value!r}")

    @property
    def spec(self) -> Spec:
        """The network and its preprocessing."""
        return contrastive.spec(
            image_size=self.image_size,
            patch_size=self.patch_size,
            width=self.width,
            layers=self.layers,
            text_layers=self.text_layers,
            embed_dim=self.embed_dim,
        )


class Crops:
    """The images of pairs as random square crops, decoded when they are needed.

    Source: section 2.3, "A random square crop from resized images is the only data augmentation".
    """

    def __init__(self, found: Pairs, preprocess: Preprocess) -> None:
        self.images, self.skipped = found.images, found.skipped
        self.preprocess = preprocess
        larger = preprocess.size + max(1, preprocess.size // MARGIN)
        self._resize = Preprocess(larger, interpolation=preprocess.interpolation)
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._bytes = 0

    def batch(self, chosen: NDArray[np.int64], seed: tuple[int, ...]) -> tuple[Tensor, list[int]]:
        """Return pixels [b, 3, s, s] and the pair of each row; unreadable images have no row."""
        random, size = np.random.default_rng(seed), self.preprocess.size
        rows, kept = [], []
        for index, draws in zip(chosen.tolist(), random.random((len(chosen), 2)), strict=True):
            image = self._resized(index)
            if image is None:
                continue
            top, left = (
                int(draw * (side - size + 1))
                for draw, side in zip(draws, image.shape[:2], strict=True)
            )
            rows.append(self.preprocess.normalize(image[top : top + size, left : left + size]))
            kept.append(index)
        empty = np.zeros((0, 3, size, size), dtype=np.float32)
        return torch.from_numpy(np.stack(rows) if rows else empty), kept

    def _resized(self, index: int) -> NDArray[np.uint8] | None:
        """Return an image [h, w, 3] whose short side has a margin, or None if it is unreadable."""
        if (found := self._kept.get(index)) is not None:
            return found
        image: str | Sample = self.images[index]
        try:
            opened = self._resize.open(image)
        except ImageError as error:
            self.skipped[describe(image) or str(index)] = f"unreadable: {error.kind}"
            return None
        longest = LONGEST * min(opened.size)
        width, height = (min(side, longest) for side in opened.size)
        left, top = (opened.width - width) // 2, (opened.height - height) // 2
        opened = opened.crop((left, top, left + width, top + height))
        width, height, _, _ = self._resize.geometry(width, height)
        resized = opened.resize((width, height), RESAMPLING[self._resize.interpolation])
        levels = np.asarray(resized, dtype=np.uint8)
        if self._bytes + levels.nbytes <= MEMORY:
            self._kept[index] = levels
            self._bytes += levels.nbytes
        return levels


class Captions:
    """The token ids of captions, in the numbers of the vocabulary that they use."""

    def __init__(self, captions: tuple[str, ...], tokenizer: ClipTokenizer) -> None:
        self._rows = tokenizer.rows(captions, truncate=True)
        longest = tokenizer.context_length
        self.truncated = sum(
            len(row) == longest and len(tokenizer.encode(caption)) + 2 > longest
            for row, caption in zip(self._rows, captions, strict=True)
        )
        self.vocabulary = Vocabulary(i for row in self._rows for i in row)

    def batch(self, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Return distinct rows of ids [u, t], and the row of each caption [b].

        Equal captions have equal embeddings, so each is computed once.
        """
        rows = [self._rows[index] for index in chosen]
        longest = max(map(len, rows))
        ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows])
        distinct, which = torch.unique(self.vocabulary.reduce(ids), dim=0, return_inverse=True)
        return distinct, which


@dataclass
class Run:
    """A network in training, with its data."""

    settings: Settings
    crops: Crops
    captions: Captions
    network: Network  # its token table contains the vocabulary of the captions only
    optimizer: torch.optim.AdamW
    progress: Progress
    started: float = field(default_factory=time.monotonic)

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches; the pairs left over differ from epoch to epoch."""
        return max(1, len(self.crops.images) // self.settings.batch_size)

    @property
    def chance(self) -> float:
        """The loss of a network that has learned nothing: all captions of a batch are equal to it.

        Source: cross-entropy of a uniform distribution, ln(batch size).
        """
        return math.log(min(self.settings.batch_size, len(self.crops.images)))

    @property
    def seconds(self) -> float:
        """Time of training, before an interruption too."""
        return self.progress.seconds + time.monotonic() - self.started

    def done(self, epoch: int, step: int) -> float:
        """Return the share of the training before a step of an epoch."""
        if self.settings.minutes is not None:
            return self.seconds / (60 * self.settings.minutes)
        assert self.settings.epochs is not None
        return (epoch + step / self.steps_per_epoch) / self.settings.epochs

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, list[int]]]:
        """Yield the batches of an epoch in random order, decoded ahead on threads."""
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(
            len(self.crops.images)
        )
        size = self.settings.batch_size
        numbered = range(self.steps_per_epoch)
        yield from run_ahead(
            lambda n: self.crops.batch(
                order[n * size : (n + 1) * size], (self.settings.seed, epoch, n)
            ),
            numbered,
            workers=cores(),
            limit=2 * cores(),
        )

    def train_epoch(self, epoch: int) -> tuple[float, int, int]:
        """Train for one epoch, or until the time is over.

        Returns the mean loss, the number of steps and the number of pairs.
        """
        losses, pairs_seen = [], 0
        for step, (pixels, chosen) in enumerate(self.batches(epoch)):
            done = self.done(epoch, step)
            if done >= 1:
                break
            if len(chosen) < 2:  # all other images of the batch are damaged
                continue
            rate = self.settings.rate * contrastive.rate_at(done, self.settings.warmup)
            losses.append(self._update(pixels, chosen, rate))
            pairs_seen += len(chosen)
        return (float(np.mean(losses)) if losses else math.nan), len(losses), pairs_seen

    def _update(self, pixels: Tensor, chosen: list[int], rate: float) -> float:
        """Make one step of AdamW, and return the loss before it."""
        ids, which = self.captions.batch(chosen)
        loss = contrastive.contrastive_loss(
            self.network.visual(pixels), self.network.text(ids)[which], self.network.logit_scale
        )
        if not math.isfinite(value := loss.item()):
            raise InputError(f"the loss is {value}; lower --rate, now {self.settings.rate}")
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        contrastive.clip_scale(self.network)
        return value

    def checkpoint(self) -> dict[str, Tensor]:
        """Return the tensors of the checkpoint, with the complete token table."""
        tensors = {name: values.detach() for name, values in self.network.named_parameters()}
        name, size = "text.token_embedding.weight", self.settings.spec.network.text.vocab_size
        vocabulary = self.captions.vocabulary
        return tensors | {name: vocabulary.restore(tensors[name], size, self.settings.seed)}


def pretrain(
    source: Path,
    out: Path,
    settings: Settings,
    *,
    resume: bool = False,
    report: Callable[[str], None] = print,
) -> Run:
    """Train on the pairs of `source`, and write the checkpoint `out`.

    Raises InputError for unusable pairs or settings, and if a file would be replaced that an
    interrupted run with these settings did not write.
    """
    state = training_state.path_of(out)
    _check_targets(out, state, resume)
    run = _start(source, settings)
    if resume:
        run.progress = training_state.restore(state, run.network, run.optimizer, run.progress.run)
        report(f"resumed after epoch {run.progress.epoch}")
    _report_start(run, report)
    loss = math.nan  # of the last whole or partial epoch
    while run.done(run.progress.epoch, 0) < 1:
        epoch, begin = run.progress.epoch, run.seconds
        mean, steps, seen = run.train_epoch(epoch)
        if not steps and run.done(epoch, 0) >= 1:  # the time is over
            break
        loss = mean
        if not steps:
            raise InputError(f"{source}: no batch has two readable images; {run.crops.skipped}")
        steps += run.progress.steps
        seconds = run.seconds
        run.progress = Progress(run.progress.run, epoch + 1, steps, seconds)
        run.started = time.monotonic()
        training_state.write(state, run.network, run.optimizer, run.progress)
        report(
            f"epoch {epoch + 1}: loss {loss:.3f} (chance {run.chance:.3f}), scale "
            f"{run.network.logit_scale.exp():.1f}, {seen / (seconds - begin):.0f} pairs/s, "
            f"{steps} steps, {seconds / 60:.1f} min"
        )
    native.save(out, out.stem, settings.spec, run.checkpoint())
    state.unlink()
    report(f"{out}: {run.progress.steps} steps in {run.seconds / 60:.1f} min; {run.crops.skipped}")
    if loss >= LEARNED * run.chance:  # NaN if an interrupted run was at its end
        report(
            f"Nothing or almost nothing was learned yet: the loss of the last epoch is {loss:.3f}, "
            f"and chance is {run.chance:.3f}. Train longer, with more --minutes or --epochs."
        )
    return run


def _check_targets(out: Path, state: Path, resume: bool) -> None:
    """Raise InputError if a file would be replaced that is not of this run."""
    if out.suffix != ".safetensors" or not out.parent.is_dir():
        raise InputError(
            f"expected a file that ends in .safetensors, in a folder that exists, got {str(out)!r}"
        )
    if not resume and state.exists():
        what = "an interrupted run" if training_state.is_state(state) else "another program"
        raise InputError(
            f"{state} exists, written by {what}; pass --resume to continue a run, or remove it"
        )
    if out.exists() and not (resume and state.exists() and native.is_native(out)):
        raise InputError(f"{out} exists; use another name, or remove it")


def _start(source: Path, settings: Settings) -> Run:
    """Read the pairs and create an initialized network."""
    found = pairs.read(source)
    if len(found) < 2:
        raise InputError(f"{source}: expected 2 pairs or more, got {len(found)}")
    spec = settings.spec
    captions = Captions(found.captions, ClipTokenizer(merges=spec.merges))
    config = captions.vocabulary.config(spec.network)
    network = Network(config)
    contrastive.initialize(network, config, settings.seed)
    optimizer = contrastive.optimizer(network, settings.rate)
    digest = hashlib.sha256("\n".join(found.captions).encode()).hexdigest()
    facts: dict[str, Any] = {
        **asdict(settings),
        "captions": digest,
        "images": found.images.digest(),
    }
    crops = Crops(found, Preprocess(**vars(spec.preprocess)))
    return Run(settings, crops, captions, network, optimizer, Progress(facts))


def _report_start(run: Run, report: Callable[[str], None]) -> None:
    parameters = sum(values.numel() for values in run.network.parameters())
    report(
        f"{len(run.crops.images)} pairs, {len(run.captions.vocabulary)} different tokens, "
        f"{parameters / 1e6:.2f} M parameters, {run.steps_per_epoch} steps per epoch; "
        f"{run.captions.truncated} captions truncated; {run.crops.skipped}"
    )


def main(arguments: list[str]) -> None:
    """Pre-train on the pairs of the arguments, and write the checkpoint."""
    parser = options.parser(__doc__)
    parser.add_argument("pairs", type=Path, metavar="PAIRS", help="folder, table or tar file")
    parser.add_argument("out", type=Path, metavar="OUT", help="checkpoint (.safetensors)")
    parser.add_argument(
        "--resume", action="store_true", help="continue an interrupted run with the same settings"
    )
    parser.add_argument("--minutes", type=float, help="length of the training in minutes")
    parser.add_argument(
        "--epochs", type=int, help=f"length of the training in epochs (default: {EPOCHS})"
    )
    for setting in fields(Settings):
        if description := setting.metadata.get("help"):
            parser.add_argument(
                f"--{setting.name.replace('_', '-')}",
                type=setting.metadata["kind"],
                default=setting.default,
                help=f"{description} (default: {setting.default})",
            )
    given = vars(parser.parse_args(arguments))
    source, out, resume = given.pop("pairs"), given.pop("out"), given.pop("resume")
    if given["minutes"] is None and given["epochs"] is None:
        given["epochs"] = EPOCHS
    pretrain(source, out, Settings(**given), resume=resume)


if __name__ == "__main__":
    options.run(main)
