"""Open pages in headless Chromium and report what is wrong: console messages, overflow, labels that collide."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (360, 768, 1440)  # CSS pixels: a phone, a tablet, a desktop

CHECK = """
addEventListener("load", () => {
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, width = frame.clientWidth;
    const note = text => found.push(`${frame.title}, ${width} px: ${text}`);
    if (page.documentElement.scrollWidth > width) {
      const wide = [...page.querySelectorAll("main *")].filter(one => one.getBoundingClientRect().right > width + 1
        && !one.closest(".scroll, pre")).map(one => one.outerHTML.slice(0, 80));
      note(`overflows to ${page.documentElement.scrollWidth}: ${wide.slice(0, 3)}`);
    }
    for (const group of page.querySelectorAll(".axis, .levels, svg.plot")) {
      const labels = [...group.querySelectorAll("span, text")].filter(one => one.getClientRects().length);
      labels.forEach((one, i) => labels.slice(i + 1).forEach(other => {
        const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2)
          note(`labels collide: ${one.textContent} and ${other.textContent}`);
      }));
    }
    for (const image of page.images)
      if (!image.naturalWidth) note(`a picture of ${image.alt} cannot be shown`);
    if (!page.querySelector("main").innerText.trim()) note("is empty");
  }
  document.getElementById("found").textContent = JSON.stringify(found);
});
"""


def problems(pages: dict[str, str], folder: Path) -> list[str]:
    """What is wrong with `pages` (HTML by name), each at all WIDTHS. Writes its own page into `folder`."""
    frames = "".join(
        f'<iframe title="{html.escape(name)}" width="{width}" height="900" style="border: 0"'
        f' srcdoc="{html.escape(page)}"></iframe>'
        for name, page in pages.items()
        for width in WIDTHS
    )
    check = folder / "check.html"
    check.write_text(
        f'<!doctype html><meta charset="utf-8"><pre id="found"></pre>{frames}<script>{CHECK}</script>', "utf-8"
    )
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            check.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return [*json.loads(html.unescape(found[1])), *console]
