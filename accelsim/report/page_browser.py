"""A page as PDF or PNG, by a Chromium that is installed; nothing of the page leaves the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from accelsim.errors import AccelSimError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT_S = 120
_WIDTH, _HEIGHT = 1200, 1600


class BrowserError(AccelSimError):
    """No browser is there, or it did not make the file."""


def find_browser() -> str | None:
    """Return the path of the first browser of `BROWSERS` that is installed; None if there is none."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def require_browser(kind: str) -> str:
    """Return the path of a browser; raise `BrowserError`, with the remedy, if there is none."""
    browser = find_browser()
    if browser is None:
        raise BrowserError(f"--format {kind}: no Chromium found; install chromium, or give --format html or md")
    return browser


def printed_page(html: str, kind: str) -> bytes:
    """Return ``html`` as a PDF (``kind`` pdf) on A4 or as a PNG of its first screen (png).

    Raises
    ------
    BrowserError
        No browser is there, or it did not make the file within two minutes.
    """
    browser = require_browser(kind)
    with tempfile.TemporaryDirectory(prefix="accelsim-") as folder:
        page, target = Path(folder) / "page.html", Path(folder) / f"page.{kind}"
        page.write_text(html, encoding="utf-8")
        wanted = f"--print-to-pdf={target}" if kind == "pdf" else f"--screenshot={target}"
        command = [
            browser, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
            f"--user-data-dir={folder}/profile", f"--window-size={_WIDTH},{_HEIGHT}", "--no-pdf-header-footer",
            *sandbox_options(), wanted, page.as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrowserError(
                f"--format {kind}: {browser}: {type(error).__name__}; give --format html or md"
            ) from None
        if not target.is_file():
            raise BrowserError(
                f"--format {kind}: {browser} made no file (status {done.returncode}); give --format html or md"
            )
        return target.read_bytes()


def sandbox_options() -> list[str]:
    """Return what a browser needs where its sandbox cannot work: as root, as in most containers."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
