"""Pictures of the console's pages in both languages, by Chromium: `scripts/manuals pictures`."""

import asyncio
import base64
import contextlib
import itertools
import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import websockets

WIDTH = 1200
SECONDS_MAX = 30
# Of each page its address, what is there when all of it has come, and how much of its height is shown at most.
PAGES = {
    "live": ("/", "document.querySelector('main').textContent.includes('Argentina')", 900),
    "log": ("/log?stream=weather", "document.querySelectorAll('main li').length > 5", 620),
    "pipeline": ("/pipeline", "document.querySelector('main svg text') !== null", 1150),
    "dead-letters": ("/dead-letters", "document.querySelector('main').textContent.includes('id-conflict')", 900),
    "try": ("/try?stream=weather", "document.querySelectorAll('main input').length > 2", 900),
}


def take(console, folder):
    """Of the console at `console`, host:port, into `folder`."""
    for language in ("en", "es"):
        asyncio.run(take_all(console, folder, language))


async def take_all(console, folder, language):
    with tempfile.TemporaryDirectory() as profile, chromium(profile, language) as address:
        async with websockets.connect(address, max_size=None) as socket:
            page = Page(socket)
            for name, (path, complete, height_max) in PAGES.items():
                await page.resize(height_max)
                await page.visit(f"http://{console}{path}", complete)
                (folder / f"{name}-{language}.png").write_bytes(await page.picture(height_max))


@contextlib.contextmanager
def chromium(profile, language):
    """A browser that ends with the block; the address of its first page."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
               f"--accept-lang={language}", f"--lang={language}", "--remote-debugging-port=0", "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        said = next((line for line in browser.stderr if "DevTools listening on " in line), None)
        if said is None:
            raise SystemExit("chromium ended by itself: scripts/prerequisites chromium")
        yield first_page(said.split("DevTools listening on ")[1].strip())
    finally:
        browser.terminate()
        browser.communicate(timeout=SECONDS_MAX)


def first_page(browser):
    host = browser.split("/")[2]
    with urllib.request.urlopen(f"http://{host}/json/list", timeout=SECONDS_MAX) as answer:
        return next(target["webSocketDebuggerUrl"] for target in json.load(answer) if target["type"] == "page")


class Page:
    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)

    async def call(self, method, **parameters):
        number = next(self.numbers)
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.recv(), SECONDS_MAX))
            if answer.get("id") == number:
                return answer["result"]

    async def value(self, expression):
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return result["result"].get("value")

    async def resize(self, height):
        await self.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False)

    async def visit(self, address, complete):
        await self.call("Page.navigate", url=address)
        async with asyncio.timeout(SECONDS_MAX):
            while not await self.value(f"document.readyState === 'complete' && ({complete})"):
                await asyncio.sleep(0.1)
            # What arrives once a second has come twice then: rates are differences.
            await self.value("new Promise((done) => setTimeout(done, 4000))")

    async def picture(self, height_max):
        height = min(height_max, await self.value("Math.ceil(document.querySelector('main').getBoundingClientRect().bottom) + 16"))
        await self.resize(height)
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])
