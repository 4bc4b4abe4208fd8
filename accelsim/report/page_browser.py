"""A page as PDF or PNG, by a Chromium that is installed; nothing of the page leaves the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from accelsim.errors import AccelSimError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT_S = 120
MAX_HEIGHT = 16000  # Chromium draws no picture higher than 16,384 pixels
_WIDTH = 1200
# On a picture nothing scrolls: tables stand whole, and as wide as the page.
_PICTURE = (
    "<style>.scroll{max-height:none;overflow:visible}table{font-size:11px}th,td{padding:3px 5px}"
    "td{white-space:normal}td.n{white-space:nowrap}th{min-width:0}</style>"
)
# The browser writes when it made a PDF; another date of the same length makes equal pages equal bytes.
_DATE = re.compile(rb"(?<=Date \(D:)\d{14}\+00'00'(?=\))")
_NO_DATE = b"20000101000000+00'00'"
_MEASURE = "<script>document.documentElement.dataset.height = document.documentElement.scrollHeight;</script>"


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
    """Return ``html`` as a PDF (``kind`` pdf) on A4 or as one PNG of the whole page (png).

    Raises
    ------
    BrowserError
        No browser is there, it did not make the file within two minutes, or a picture would be higher than
        `MAX_HEIGHT`.
    """
    browser = require_browser(kind)
    html = html.replace("</head>", f"{_PICTURE}</head>") if kind == "png" else html
    with tempfile.TemporaryDirectory(prefix="accelsim-") as folder:
        page, target = Path(folder) / "page.html", Path(folder) / f"page.{kind}"
        page.write_text(html, encoding="utf-8")
        common = [
            browser, "--headless=new", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
            f"--user-data-dir={folder}/profile", *sandbox_options(),
        ]  # fmt: skip
        if kind == "pdf":
            wanted = [f"--print-to-pdf={target}", "--no-pdf-header-footer"]
        else:
            height = _height(common, html, Path(folder) / "measure.html")
            wanted = [f"--screenshot={target}", f"--window-size={_WIDTH},{height}"]
        status = _browse([*common, *wanted, page.as_uri()], kind).returncode
        if not target.is_file():
            raise BrowserError(f"--format {kind}: {browser} made no file (status {status}); give --format html or md")
        return _DATE.sub(_NO_DATE, target.read_bytes())


def _height(common: list[str], html: str, page: Path) -> int:
    """Return the height of the page in pixels at the width of the picture."""
    page.write_text(html.replace("</body>", f"{_MEASURE}</body>"), encoding="utf-8")
    command = [*common, f"--window-size={_WIDTH},800", "--dump-dom", page.as_uri()]
    found = re.search(rb' data-height="(\d{1,7})"', _browse(command, "png").stdout)
    height = int(found.group(1)) if found else 1600
    if height > MAX_HEIGHT:
        found_words = f"the page is {height} pixels high, a picture at most {MAX_HEIGHT}"
        raise BrowserError(f"--format png: {found_words}; give fewer results, or --format pdf")
    return height


def _browse(command: list[str], kind: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        name = type(error).__name__
        raise BrowserError(f"--format {kind}: {command[0]}: {name}; give --format html or md") from None


def sandbox_options() -> list[str]:
    """Return what a browser needs where its sandbox cannot work: as root, as in most containers."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
