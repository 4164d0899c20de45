"""Classify for many clients: a model, its batcher, named heads and a cache of heads."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from zeroshot.embedding import embed
from zeroshot.errors import ImageError, InputError, LabelError, PromptError, TokenLimitError
from zeroshot.errors import shortened as shorten
from zeroshot.head import Head
from zeroshot.lookahead import SMALL_BATCH
from zeroshot.machine import cores
from zeroshot.predictions import Failure
from zeroshot.prompts import PromptSet, available, named
from zeroshot.prompts import get as get_prompts
from zeroshot.scoring import rank
from zeroshot.serving.batcher import Batcher, Outcome
from zeroshot.serving.errors import ApiError, busy, draining, timed_out
from zeroshot.serving.memory import Memory
from zeroshot.serving.metrics import Metrics
from zeroshot.serving.settings import HeadSource, NamedLabels, Settings

if TYPE_CHECKING:
    from zeroshot.model import Model

HEADS = 256  # in the cache
HEAD_ROWS = 100_000  # labels of all heads in the cache: 300 MB at 768 dimensions
BUILDS = 16  # heads that wait to be built
STOP_TEXTS = 2048  # of a head that are embedded before it can stop; fewer share fewer prefixes
LABEL_CHARACTERS = 1000  # also of a template: each label is inserted into each
CHARACTERS = 50_000  # that are tokenized at once: for 40 ms, in which other threads wait
TEXTS = 256  # that are embedded before other work gets a turn, or the client's leaving is noticed

Labels: TypeAlias = Sequence[str] | Mapping[str, str | Sequence[str]]
Key: TypeAlias = tuple[tuple[tuple[str, tuple[str, ...]], ...], tuple[str, ...], str]


@dataclass
class _Build:
    future: Future[Head]  # of the builder's thread
    task: asyncio.Task[Head]
    waiting: int = 0  # clients


class _Stoppable:
    """A model that stops to embed the texts of a head when the server stops."""

    _sentences = STOP_TEXTS

    def __init__(self, model: Model, stopped: threading.Event) -> None:
        self._model, self._stopped = model, stopped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Return embeddings; raise ApiError 503 if the server stops."""
        parts = []
        for part in _parts(texts, len(texts)):
            if self._stopped.is_set():
                raise draining()
            parts.append(self._model.encode_text(part))
        return torch.cat(parts)


class Service:
    """What all request forms use."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model = model
        self.settings = settings
        self.name = model.source or os.path.basename(model.name)  # no path of this machine
        self.identity = model.identity
        self.metrics = Metrics()
        self.started = time.monotonic()
        self.is_draining = False
        self.active = 0  # requests in progress
        self.admitted = 0  # of them, those with a body
        self.memory = Memory(settings.max_body)
        self._cache: OrderedDict[Key, Head] = OrderedDict()
        self._builds: dict[Key, _Build] = {}
        self.heads = {
            name: _open_head(model, name, source) for name, source in settings.heads.items()
        }
        self._builder = ThreadPoolExecutor(1, "zeroshot-builder")
        self._stopped = threading.Event()
        self.batcher = Batcher(
            self._embed,
            max_queue=settings.max_queue,
            max_batch=settings.max_batch,
            deadline=settings.deadline,
        )

    def stop_builds(self) -> None:
        """Let heads that are being built fail: the process ends after the builder's thread."""
        self._stopped.set()

    def close(self) -> None:
        """Stop the threads."""
        self.stop_builds()
        self.batcher.close()
        self._builder.shutdown(wait=False, cancel_futures=True)

    @property
    def state(self) -> str:
        """The word "ready", or why requests are not accepted: "draining", "failed" or "busy"."""
        if self.is_draining:
            return "draining"
        if not self.batcher.is_alive:
            return "failed"
        return "ready" if self.has_room else "busy"

    @property
    def has_room(self) -> bool:
        """Whether another request is accepted."""
        return self.batcher.has_room and self.admitted < self.settings.max_queue

    def warm_up(self) -> None:
        """Build what is built at first use, so that the first requests are as fast as others."""
        side = self.model.preprocess.square
        pixels = np.zeros((3, side, side), dtype=np.float32)
        rows = self.model.encode_pixels(
            [pixels] if self.model.spec.takes_any_grid else pixels[None]
        )
        for head in self.heads.values():  # one with background words selects them at first use
            self.answer(rows[0].cpu().numpy(), head, top=1)

    def _embed(self, images: list[bytes]) -> list[Outcome]:
        """Embed images in the batcher's thread; all cores take a share."""
        one = len(images) == 1
        size = min(SMALL_BATCH, -(-len(images) // cores()))
        found: list[Outcome] = []
        on_cpu = self.model.device.type == "cpu"
        batches = embed(
            self.model,
            images[0] if one else images,
            batch_size=size if on_cpu and not one else None,
            on_error="yield",
            progress=False,
        )
        for batch in batches:
            rows = iter([] if batch.rows is None else batch.rows.cpu().numpy())
            for outcome in batch.outcomes:
                if not isinstance(outcome, Failure):
                    found.append(next(rows))
                elif isinstance(outcome.error, ImageError):
                    found.append(outcome.error)
                else:
                    raise outcome.error
        return found

    async def embed_images(self, images: Sequence[bytes]) -> list[Outcome]:
        """Return an embedding, float32 [d], or an ImageError for each image, in order.

        Raises ApiError 503 if the queue has no room for all of them, 504 if they waited too long.
        """
        if len(images) > self.batcher.room:
            raise busy()
        futures: list[asyncio.Future[Outcome]] = []
        try:
            for image in images:
                futures.append(asyncio.wrap_future(self.batcher.submit(image)))
            outcomes = list(await asyncio.gather(*futures))
        except queue.Full:
            raise busy() from None
        except TimeoutError:
            raise timed_out() from None
        finally:
            for future in futures:
                future.cancel()
        self.metrics.images += len(outcomes)
        self.metrics.image_errors += sum(isinstance(each, ImageError) for each in outcomes)
        return outcomes

    async def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, float32 [n, d], of unit length.

        Raises ApiError 422 for a text that is too long.
        """

        def work(part: list[str]) -> NDArray[np.float32]:
            return np.asarray(self.model.encode_text(part, progress=False).cpu().numpy())

        try:
            rows = [await self._build(work, part) for part in _parts(texts, TEXTS)]
        except InputError as error:
            raise _label_problem(error) from None
        return np.concatenate(rows)

    async def head_for(
        self,
        labels: Labels | None = None,
        templates: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
    ) -> Head:
        """Return the head of a name, or of labels and templates, which is built if it is new.

        `templates` is a prompt set's name, a template or a list; None selects the set `photo`.
        Raises ApiError 404 for an unknown name, 422 for invalid labels, 503 if too many heads wait
        to be built.
        """
        if (labels is None) == (name is None):
            expected = "either labels or head" if self.settings.allow_labels else "head"
            message = f"expected {expected}; GET /v1/heads lists the heads"
            raise ApiError(422, message, "labels")
        if labels is None:
            if templates is not None:
                raise ApiError(422, "a head has its own templates; omit them", "templates")
            return self._named(name)
        if not self.settings.allow_labels:
            raise ApiError(422, "this server accepts named heads only, no labels", "labels")
        pairs = self._check_labels(labels)
        prompts = _to_prompts(templates)
        total = sum(len(names) for _, names in pairs) * len(prompts.templates)
        if total > self.settings.max_prompts:
            limit = self.settings.max_prompts
            message = f"expected at most {limit} prompts (names x templates), got {total}"
            raise ApiError(422, message, "too_many_prompts")
        key = pairs, prompts.templates, prompts.name
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        return await self._wait_for_head(key, prompts)

    def _named(self, name: str | None) -> Head:
        if not isinstance(name, str) or name not in self.heads:
            raise ApiError(404, "no such head; GET /v1/heads lists them", "head_not_found")
        return self.heads[name]

    def _check_labels(self, labels: Labels) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return labels with their names; raise ApiError if they are invalid."""
        limit = self.settings.max_labels
        if not isinstance(labels, Mapping | list | tuple):
            raise ApiError(422, "expected labels as a list, or as an object of names", "labels")
        if len(labels) > limit:
            message = f"expected at most {limit} labels, got {len(labels)}"
            raise ApiError(422, message, "too_many_labels")
        values = labels.values() if isinstance(labels, Mapping) else labels
        if not all(isinstance(names, str | list | tuple) for names in values):
            raise ApiError(422, "expected names of labels as text or lists of text", "labels")
        _check_lengths(_texts(labels), "labels")
        try:
            pairs = tuple((label, tuple(names)) for label, names in named(labels).items())
        except LabelError as error:
            raise _label_problem(error) from None
        return pairs

    async def _wait_for_head(self, key: Key, prompts: PromptSet) -> Head:
        """Return a head that is built once for all clients that wait for it."""
        build = self._builds.get(key)
        if build is None:
            if len(self._builds) >= BUILDS:
                raise busy()
            model = _Stoppable(self.model, self._stopped)
            future = self._builder.submit(_build_head, model, dict(key[0]), prompts)
            task = asyncio.ensure_future(self._keep_head(key, future))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            build = self._builds[key] = _Build(future, task)
        build.waiting += 1
        try:
            return await asyncio.shield(build.task)
        finally:
            build.waiting -= 1
            if not build.waiting and not build.task.done() and build.future.cancel():
                del self._builds[key]  # it was not started; one that was started is finished

    async def _keep_head(self, key: Key, future: Future[Head]) -> Head:
        """Wait until a head is built and add it to the cache."""
        try:
            head = await asyncio.wrap_future(future)
        except InputError as error:
            raise _label_problem(error) from None
        finally:
            if not future.cancelled():
                del self._builds[key]
        self.metrics.heads_built += 1
        self._cache[key] = head
        while len(self._cache) > 1 and (
            len(self._cache) > HEADS or sum(map(len, self._cache.values())) > HEAD_ROWS
        ):
            self._cache.popitem(last=False)
        return head

    async def _build(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run work that embeds texts, one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._builder, work, *arguments)

    def answer(self, embedding: NDArray[np.float32], head: Head, top: int) -> dict[str, Any]:
        """Return the result of an image: label, probability, ranking, and none if it has it.

        `embedding` is float32 [d] of unit length, `top` the length of the ranking.
        """
        rows = torch.from_numpy(embedding)[None].to(head.weight.device)
        with torch.inference_mode():
            found = rank(head, rows, top=top)[0].to_dict()
        del found["source"]
        return found


def _build_head(model: Any, labels: dict[str, tuple[str, ...]], prompts: PromptSet) -> Head:
    """Return the head of a request's labels; a name that is too long fails before it takes time."""
    for part in _parts([name for names in labels.values() for name in names], TEXTS):
        model.tokenizer.rows(part)
    # without the store on disk: labels of clients are not kept
    return Head.build(model, labels, prompts, progress=False)


def _open_head(model: Model, name: str, source: HeadSource) -> Head:
    """Return the head of a name when the server starts."""
    if isinstance(source, str | os.PathLike):
        head = Head.load(source)
    elif isinstance(source, Head):
        head = source
    else:
        given = source if isinstance(source, NamedLabels) else NamedLabels(source)
        head = model.head(given.labels, given.prompts, none_of_these=given.none_of_these)
    head.check(model.identity)
    if head.scoring == "independent":
        raise InputError(
            f"--head {shorten(name)}: this head has independent scores, which embed several parts "
            "of an image; the server supports one label per image. Build it without "
            "scores='independent'"
        )
    return head


def _parts(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield at most `most` texts and CHARACTERS characters at once."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and (len(part) == most or size + len(text) > CHARACTERS):
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    yield part


def _texts(labels: Labels) -> Iterator[str]:
    """Yield the labels and their names, and skip what is not text."""
    groups = [labels, *(labels.values() if isinstance(labels, Mapping) else labels)]
    for group in groups:
        texts = (group,) if isinstance(group, str) else group
        yield from (text for text in texts if isinstance(text, str))


def _check_lengths(texts: Iterable[object], kind: str) -> None:
    """Raise ApiError 422 for a text that is too long; `kind` names the texts."""
    if any(isinstance(text, str) and len(text) > LABEL_CHARACTERS for text in texts):
        message = f"expected {kind} of at most {LABEL_CHARACTERS} characters"
        raise ApiError(422, message, kind)


def _to_prompts(templates: str | Sequence[str] | None) -> PromptSet:
    """Return the prompts of a request; a text never names a file."""
    if templates is None:
        return get_prompts("photo")
    texts = (templates,) if isinstance(templates, str) else templates
    if isinstance(texts, list | tuple):
        _check_lengths(texts, "templates")
    try:
        if isinstance(templates, str):
            return get_prompts(templates) if templates in available() else PromptSet((templates,))
        if isinstance(templates, list | tuple) and templates:
            return PromptSet(tuple(templates))
    except PromptError:
        pass
    message = (
        "expected templates as texts with {} once, as in 'a photo of a {}.', or the name of a "
        f"prompt set: {', '.join(available())}"
    )
    raise ApiError(422, message, "templates")


def _label_problem(error: InputError) -> ApiError:
    """Return what a client learns of invalid labels or texts."""
    if isinstance(error, TokenLimitError):
        message = f"a text has {error.tokens} tokens, more than the model accepts; shorten it"
        return ApiError(422, message, "too_many_tokens")
    message = (
        "expected labels that are not empty and that the model can distinguish; 'Cat' and 'cat' "
        "are the same for many models"
    )
    return ApiError(422, message, "labels")
