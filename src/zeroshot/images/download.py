"""Download an image from a URL, with limits on size and time."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request

from zeroshot.errors import ImageError, ImageProblem, image_error, shortened

MAX_DOWNLOAD = 20_000_000  # bytes of an image fetched from a URL
DOWNLOAD_SECONDS = 15.0


def download_image(url: str) -> bytes:
    """Download an image: at most MAX_DOWNLOAD bytes within DOWNLOAD_SECONDS.

    Raises ImageError.
    """
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    # URLs may contain spaces and accents; escape sequences are kept
    plain = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    content = bytearray()
    try:
        request = urllib.request.Request(
            plain, headers={"User-Agent": "zeroshot", "Accept": "image/*"}
        )
        with urllib.request.urlopen(request, timeout=DOWNLOAD_SECONDS) as response:
            while piece := response.read1(65_536):
                content += piece
                if len(content) > MAX_DOWNLOAD:
                    raise image_error("too_large_bytes", url, f"larger than {MAX_DOWNLOAD} bytes")
                if time.monotonic() > deadline:
                    raise image_error("timeout", url, f"timed out after {DOWNLOAD_SECONDS:.0f} s")
    except urllib.error.HTTPError as error:
        error.close()
        kind: ImageProblem = "not_found" if error.code in (404, 410) else "url_refused"
        raise image_error(
            kind, url, f"the server returned {error.code} {shortened(str(error.reason), 100)}"
        ) from error
    except TimeoutError as error:
        raise image_error("timeout", url, f"timed out after {DOWNLOAD_SECONDS:.0f} s") from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        # str() of a URLError is "<urlopen error ...>"
        reason = str(error.reason if isinstance(error, urllib.error.URLError) else error)
        raise image_error(
            "url_refused", url, f"download failed ({shortened(reason, 200)})"
        ) from error
    return bytes(content)
