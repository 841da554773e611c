"""A headless Chromium that is told what to do. One decision: Chromium's own protocol over the pipe that
`--remote-debugging-pipe` opens, so that neither a driver program nor a package is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-features=IsolateSandboxedIframes",  # frames stay in the page's process, where `frame` finds them
)  # fmt: skip
TIMEOUT = 60.0


def find_chromium() -> str | None:
    """The program, if one is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of one Chromium, ended with the `with` block."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        program = find_chromium()
        if program is None:
            raise RuntimeError("no Chromium is installed")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        command = [program, *FLAGS, f"--window-size={width},{height}", f"--user-data-dir={self._profile.name}"]
        # The protocol reads from descriptor 3 and writes to 4.
        shell = ["bash", "-c", 'exec "$@" 3<&"$IN" 4>&"$OUT"', "bash", *command, "--remote-debugging-pipe"]
        env = {**os.environ, "IN": str(to_read), "OUT": str(to_write)}
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(shell, pass_fds=(to_read, to_write), env=env, stdout=quiet, stderr=quiet)
        os.close(to_read)
        os.close(to_write)
        self._rest, self._count, self._session = b"", 0, ""
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            os.close(self._to)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        os.close(self._from)
        self._profile.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; RuntimeError if it is refused."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self._count:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                return dict(reply["result"])

    def open(self, url: str, *, seconds: float = TIMEOUT) -> None:
        """Go to a page and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'", seconds=seconds)

    def evaluate(self, script: str, frame: str | None = None) -> Any:
        """The value of a JavaScript expression, of the page or of the inner frame whose address starts like `frame`;
        RuntimeError if it fails or there is no such frame."""
        where = {} if frame is None else {"contextId": self._world(frame)}
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, **where)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", script))
        return found["result"].get("value")

    def wait(self, script: str, frame: str | None = None, *, seconds: float = TIMEOUT) -> Any:
        """Evaluate until the value is true; TimeoutError with the page's text if it never is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # the page is being replaced
                if value := self.evaluate(script, frame):
                    return value
            time.sleep(0.1)
        raise TimeoutError(f"{script} never held; the page says: {self.text()[:2000]}")

    def text(self) -> str:
        """What the page shows as text."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def move(self, x: float, y: float) -> None:
        """Move the pointer there, in pixels of the window."""
        for step in (4, 0):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - step, y=y - step)
            time.sleep(0.1)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button there."""
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def place(self, script: str) -> tuple[float, float]:
        """Middle of the element that an expression gives, after it was scrolled into view."""
        middle = f"""(() => {{ const e = {script}; if (!e) return null; e.scrollIntoView({{block: 'center'}});
            const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""
        x, y = self.wait(middle)
        return float(x), float(y)

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _world(self, start: str) -> int:
        """A place to run scripts in an inner frame."""
        frames = self.call("Page.getFrameTree")["frameTree"].get("childFrames", [])
        found = [f["frame"]["id"] for f in frames if f["frame"]["url"].startswith(start)]
        if not found:
            raise RuntimeError(f"no frame shows {start}")
        return int(self.call("Page.createIsolatedWorld", frameId=found[0])["executionContextId"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))
