"""Find problems of labels and prompts, before any image is classified or with images.

`linter` runs the rules, `problems` defines what they find, and `entries` reads the labels. Rules of
`text_rules` need the labels only, `template_rules` also the prompts, `model_rules` a model,
`image_rules` also images.
"""

from zeroshot.linting.linter import lint
from zeroshot.linting.problems import Problem

__all__ = ["Problem", "lint"]
