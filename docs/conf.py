"""Sphinx configuration of the documentation site. `make docs` builds it without a network.

The pages are plain Markdown, so that they also read well on GitHub. Two of them have a part that is
replaced when the site is built: `<!-- api -->` to `<!-- /api -->` by the docstrings of every public
name, and `<!-- cli -->` to `<!-- /cli -->` by the help of every command.
"""

from __future__ import annotations

import inspect
import re
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

import zeroshot

REPOSITORY = "https://github.com/zeroshot-clip/zeroshot"
BRANCH = "main"

project = "zeroshot"
author = "The zeroshot contributors"
copyright = author  # noqa: A001
version = release = zeroshot.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
smartquotes = False  # it would change dashes and quotes of commands
default_role = "literal"  # docstrings write code in single backticks

html_theme = "furo"
html_title = f"zeroshot {release}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "source_repository": f"{REPOSITORY}/",
    "source_branch": BRANCH,
    "source_directory": "docs/",
}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True}
# Names of unions stay names in signatures; the API page explains them.
autodoc_type_aliases = {name: name for name in ("ImageLike", "Labels", "Prompts")}
maximum_signature_line_length = 80

# References to public names must resolve. Others cannot: the build has no network to look up torch,
# and internal types have no page.
nitpick_ignore_regex = [
    (r"py:class", r"(?!zeroshot\.((calibration|errors|metrics|prompts)\.)?\w+$).*")
]

# Helpers that share a module with public functions.
HELPERS = {f"zeroshot.prompts.{name}" for name in ("insert", "is_file", "named")}


def members(module: ModuleType) -> list[str]:
    """List the exceptions of a public module, or its own functions and classes if it has none."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    own = {
        name: getattr(module, name)  # some are imported on first use
        for name in names
        if getattr(getattr(module, name), "__module__", "").startswith(module.__name__)
        and f"{module.__name__}.{name}" not in HELPERS
    }
    exceptions = [name for name, value in own.items() if kind(value) == "exception"]
    found = ("function", "class")
    return exceptions or [name for name, value in own.items() if kind(value) in found]


def kind(value: object) -> str:
    """Return the name of the autodoc directive for a public object."""
    if inspect.ismodule(value):
        return "module"
    if inspect.isfunction(value):
        return "function"
    if inspect.isclass(value):
        return "exception" if issubclass(value, Exception) else "class"
    return "data"


def api() -> str:
    """Return the API reference as Markdown with an autodoc directive for every public name."""
    values = {name: getattr(zeroshot, name) for name in zeroshot.__all__}
    parts = []
    for wanted, title in (
        ("function", "Functions"),
        ("class", "Classes"),
        ("exception", "Base exception"),
        ("data", "Constants"),
    ):
        chosen = [name for name, value in values.items() if kind(value) == wanted]
        options = [":special-members: __call__, __add__"] if wanted == "class" else []
        parts.append(f"## {title}")
        parts += [_directive(wanted, f"zeroshot.{name}", *options) for name in chosen]
    for name, value in values.items():
        if isinstance(value, ModuleType):
            parts += [
                f"## zeroshot.{name}",
                _directive("module", f"zeroshot.{name}", ":no-members:"),
            ]
            parts += [
                _directive(kind(getattr(value, member)), f"zeroshot.{name}.{member}")
                for member in members(value)
            ]
    return "\n\n".join(parts)


def _directive(directive: str, name: str, *options: str) -> str:
    lines = [f".. auto{directive}:: {name}", *(f"   {option}" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def cli() -> str:
    """Return the command reference as Markdown with a sphinx-click directive."""
    return "```{eval-rst}\n.. click:: zeroshot.cli:main\n   :prog: zeroshot\n   :nested: full\n```"


PARTS = {"api": api, "cli": cli}


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Generate the marked part of a page, and point links out of docs/ to the repository."""
    if docname in PARTS:
        part = re.compile(rf"<!-- {docname} -->.*<!-- /{docname} -->", re.S)
        source[0] = part.sub(lambda _: PARTS[docname](), source[0])
    link = re.compile(r"(?<!\!)(\[[^\]]*\])\(\.\./([^)\s]*)\)")
    source[0] = link.sub(rf"\1({REPOSITORY}/blob/{BRANCH}/\2)", source[0])


def tidy(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn a docstring into valid reStructuredText.

    Sections such as `Args:` become fields. An indented block, such as the tree of errors, becomes
    a literal block. A property's docstring is text only: "Id: the largest one" names no type.
    """
    if what not in ("attribute", "property"):
        lines[:] = str(GoogleDocstring(list(lines), what=what, name=name, obj=obj)).splitlines()
    result: list[str] = []
    paragraph = ""  # the last line that has text in it
    for line in lines:
        starts = line.startswith("    ") and bool(result) and not result[-1].strip()
        if starts and not paragraph.startswith((" ", ":", "-", "*", "..", ">>>")):
            result += [] if paragraph.endswith("::") else ["::", ""]
        result.append(line)
        paragraph = line if line.strip() else paragraph
    lines[:] = result


def plain_aliases(
    app: Sphinx, what: str, name: str, obj: object, options: object, arguments: str, returns: str
) -> tuple[str, str] | None:
    """Write a type alias in a union by its name, not as the object that Sphinx stores."""
    if not arguments:
        return None
    stored = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    return stored.sub(r"\1", arguments), stored.sub(r"\1", returns or "")


def setup(app: Sphinx) -> None:
    """Connect the hooks above."""
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", tidy)
    app.connect("autodoc-process-signature", plain_aliases)
