"""T7 T9: an ImageNet head of 80 templates and 1000 labels, and tokenizing of its prompts.

transformers, open_clip and OpenAI's code all run 77 tokens per prompt, which takes most of an hour
on this machine, so a sample of prompts is timed and scaled. zeroshot builds complete heads,
including tokenizing, without a cache.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import peers
import torch
from checkpoints import agreement, config, transformers_folder
from table import Row, Run, main

import zeroshot
from zeroshot import ClipTokenizer, Head, prompts
from zeroshot.diagnostics.bench import GEMM_SIDE, SEED, alternate, timed
from zeroshot.spec import TextConfig

FLOAT32, BFLOAT16 = "float32", "bfloat16"
OVER = "transformers float32, 77 tokens"
BATCH = 32  # prompts, for transformers


def measure(run: Run) -> Iterator[Row]:
    """Measure the selected targets."""
    labels = [names[0] for names in prompts.labels("imagenet").values()]
    labels = list(dict.fromkeys(labels))[: run.size(1000, 40)]
    templates = prompts.get("imagenet").templates[: run.size(80, 4)]
    if run.wants("T7"):
        yield from heads(run, labels, templates)
    if run.wants("T9"):
        yield from tokenizing(run, labels, templates)


def sentences(labels: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Insert every label into every template, in the order of heads."""
    return [template.replace("{}", label) for label in labels for template in templates]


def heads(run: Run, labels: list[str], templates: Sequence[str]) -> Iterator[Row]:
    """T7: build the complete head in float32 and bfloat16."""
    folder = transformers_folder(run, "ViT-B/32")
    prompt_set = prompts.PromptSet(tuple(templates))
    texts = sentences(labels, templates)
    sample = random.Random(SEED).sample(texts, run.size(64, 4))
    for dtype, least, rounds in ((FLOAT32, 25.0, 2), (BFLOAT16, 90.0, 3)):
        model = zeroshot.load(folder, device="cpu", dtype=dtype)
        name = f"zeroshot {dtype}"
        build = partial(Head.build, model, labels, prompt_set)
        contenders: dict[str, Callable[[], object]] = {name: build}
        Head.build(model, labels[: run.size(50, 4)], prompt_set)  # packs the encoder and warms up
        note = ""
        if peers.installed("transformers"):
            ids = torch.from_numpy(model.tokenizer(sample))
            theirs = peers.transformers_model(folder, FLOAT32)
            encode = partial(peers.transformers_texts(theirs, BATCH), ids)
            contenders[OVER] = encode
            note = f"cosine {agreement(model.encode_text(sample), encode()):.6f}; "
        found = alternate(
            contenders,
            rounds=run.size(rounds, 1),
            warm=False,
            probes=(dtype,),
            side=run.size(GEMM_SIDE, 64),
        )
        tower = config(run, "ViT-B/32").text
        assert isinstance(tower, TextConfig)
        work = flop(model.tokenizer.rows(texts), tower)
        what = f"head of {len(templates)} x {len(labels)}, {name} vs. {OVER}"
        seconds = found.median(name)
        figures = f"{seconds:.1f} s, {len(texts) / seconds:,.0f} prompts/s; {note}"
        figures += f"GEMM {found.gemm(dtype):,.0f} GFLOP/s"
        if OVER not in contenders:
            yield Row("T7", what, None, figures, least)
            continue
        scale = len(texts) / len(sample)
        minutes = scale * found.median(OVER) / 60
        yield Row(
            "T7",
            what,
            scale * found.ratio(name, OVER),
            f"{figures}; transformers {minutes:.0f} min, scaled from {len(sample)} prompts "
            "per round",
            least,
            share=found.share(name, work, dtype),
            limit=f"a {dtype} GEMM over unshared tokens",
            bars={
                name: len(texts) / found.median(name),
                OVER: len(sample) / found.median(OVER),
            },
            unit="prompts/s",
        )


def flop(rows: Sequence[Sequence[int]], config: TextConfig) -> float:
    """Count the unavoidable operations: linear layers over each token with a distinct prefix.

    A layer takes 12 w^2 multiply-adds per token. The last layer takes 2 w^2 per token, and the rest
    only for the end-of-text token.
    """
    texts = set(map(tuple, rows))
    tokens = len({text[:length] for text in texts for length in range(1, len(text) + 1)})
    square = 2.0 * config.width**2
    return square * (12 * tokens * (config.layers - 1) + 2 * tokens + 10 * len(texts))


def tokenizing(run: Run, labels: list[str], templates: Sequence[str]) -> Iterator[Row]:
    """T9: ids of all prompts of the head, with a warm word cache."""
    texts = sentences(labels, templates)
    tokenizer = ClipTokenizer()
    cold = timed(lambda: tokenizer.rows(texts))
    contenders = {"zeroshot": lambda: tokenizer.rows(texts)}
    over = "OpenAI's SimpleTokenizer"
    what = f"tokenizing {len(texts):,} prompts, zeroshot vs. {over}"
    if not peers.installed("clip"):
        yield Row("T9", what, None, f"first call {cold:.2f} s", least=20.0)
        return
    simple = peers.openai().simple_tokenizer.SimpleTokenizer()
    contenders[over] = lambda: [simple.encode(text) for text in texts]
    found = alternate(contenders, rounds=run.size(5, 1))
    same = [row[1:-1] for row in tokenizer.rows(texts)] == contenders[over]()
    yield Row(
        "T9",
        what,
        found.ratio("zeroshot", over),
        f"{found.median('zeroshot'):.3f} vs. {found.median(over):.2f} s, first call {cold:.2f} s; "
        + ("identical ids" if same else "IDS DIFFER"),
        least=20.0,
    )


if __name__ == "__main__":
    main(measure, __doc__)
