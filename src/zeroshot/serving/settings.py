"""Hold the settings of a server, checked in the words of the options of `zeroshot serve`."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from zeroshot.errors import InputError, shortened

if TYPE_CHECKING:
    from zeroshot.head import Head

HEAD_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
KEY = re.compile(r"[!-~]+")
COUNTS = ("max_queue", "max_batch", "max_body", "max_images", "max_labels", "max_prompts")


@dataclass(frozen=True)
class NamedLabels:
    """The labels and prompts of a head that is built when the server starts."""

    labels: Any
    prompts: Any = "photo"
    none_of_these: bool = False


# A head file, labels, or a head.
HeadSource: TypeAlias = (
    "str | os.PathLike[str] | Sequence[str] | Mapping[str, Any] | NamedLabels | Head"
)


@dataclass(frozen=True)
class Settings:
    """What a server serves, where, and its limits.

    Args:
        model: Name of the model, as `zeroshot.load` takes it.
        heads: Name of each head, to a head file, labels or a head.
        host: Address to listen on; others than loopback require `api_key` or `insecure`.
        port: Port to listen on; 0 chooses a free one.
        api_key: Key that requests must send as `Authorization: Bearer KEY`, or None.
        insecure: Allow requests from other machines without a key.
        max_queue: Maximum of requests in progress, and of images in the queue.
        max_batch: Maximum of images taken from the queue at once. A core embeds up to 8 of them.
        deadline: Seconds to receive a request (408), and then to answer it (504).
        drain: Seconds to finish requests after SIGTERM.
        max_body: Maximum of bytes in a request, with images that it makes the server download.
        max_images: Maximum of images in a request.
        max_labels: Maximum of labels in a request.
        max_prompts: Maximum of names times templates in a request.
        allow_labels: Build heads from the labels of requests; False allows named heads only.
        page: Serve the page at `/`.
        allow_urls: Download images whose URL a request contains.
        url_hosts: The only hosts of such URLs, ".example.com" for all below it; empty allows every
            public host.
        max_pixels: Maximum of pixels of an image.

    Raises:
        InputError: A value is invalid, or the combination is unsafe.
    """

    model: str = "ViT-B/32"
    heads: Mapping[str, HeadSource] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    insecure: bool = False
    max_queue: int = 256
    max_batch: int = 32
    deadline: float = 10.0
    drain: float = 20.0
    max_body: int = 20_000_000
    max_images: int = 64
    max_labels: int = 1000
    max_prompts: int = 20_000
    allow_labels: bool = True
    page: bool = True
    allow_urls: bool = False
    url_hosts: Sequence[str] = ()
    max_pixels: int = 24_000_000

    def __post_init__(self) -> None:
        for name in (*COUNTS, "max_pixels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise _invalid(name, "an integer of at least 1", value)
        for name in ("deadline", "drain"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value) or value <= 0:
                raise _invalid(name, "a number of seconds above 0", value)
        if isinstance(self.port, bool) or self.port not in range(65_536):
            raise _invalid("port", "a number in 0..65535", self.port)
        self._check_access()
        self._check_heads()

    def _check_access(self) -> None:
        if self.api_key is not None and not KEY.fullmatch(self.api_key):
            raise InputError(
                f"expected a key of visible ASCII characters without spaces, got "
                f"{len(self.api_key)} characters with others; make one with: openssl rand -hex 32"
            )
        if self.api_key is None and not self.insecure and not is_loopback(self.host):
            raise InputError(
                f"--host {shortened(self.host)} accepts requests from other machines, which "
                "requires a key; use --api-key-file or the variable ZEROSHOT_API_KEY, or "
                "--insecure to accept requests from everyone"
            )
        if self.url_hosts and not self.allow_urls:
            raise InputError("--url-host requires --allow-urls; add it, or omit --url-host")

    def _check_heads(self) -> None:
        for name in self.heads:
            if not HEAD_NAME.fullmatch(name):
                raise InputError(
                    f"expected a --head name of letters, digits, '.', '_' and '-', at most 64, got "
                    f"{shortened(repr(name))}; rename it"
                )
        if not self.heads and not self.allow_labels:
            raise InputError("--no-labels allows named heads only; add --head NAME=FILE")

    @property
    def images_per_request(self) -> int:
        """Number of images that a request may contain; all of them wait at once."""
        return min(self.max_images, self.max_queue)


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _invalid(name: str, expected: str, value: object) -> InputError:
    option = "--" + name.replace("_", "-")
    return InputError(f"expected {option} to be {expected}, got {shortened(repr(value))}")
