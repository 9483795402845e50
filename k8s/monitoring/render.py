"""Each dashboard as it would look, from its own queries, as a page and its pictures: `scripts/watch render`.

Not Grafana: the same panels in the same places, with the same data, drawn plainly. Values as of one moment."""

import colorsys
import html
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cache
import panels
from watched import ROOT, watched

FOLDER = ROOT / "docs" / "dashboards"
SECONDS = 90
RATE = 40
WIDTHS = {"": 1400, "-narrow": 700}
ROW = 34  # pixels of a row of the grid, as Grafana has it, with the space between
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d", "#fade2a", "#c4162a",
           "#8f3bb8", "#96d98d", "#ffb357", "#1f60c4", "#ff7383", "#ca95e5"]
COLOURS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
STYLE = """
* { box-sizing: border-box; margin: 0 } body { background: #111217; color: #ccccdc; font: 13px/1.4 "DejaVu Sans", sans-serif; padding: 12px }
h1 { font-size: 18px; margin-bottom: 2px } .about { color: #9a9aac; margin-bottom: 10px }
main { display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px }
section { background: #181b1f; border: 1px solid #2a2d33; border-radius: 3px; padding: 6px 10px; display: flex; flex-direction: column; min-width: 0; overflow: hidden }
h2 { font-size: 13px; font-weight: 600; margin-bottom: 4px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.body { flex: 1; min-height: 0; display: flex; flex-direction: column } .row { flex-direction: row; gap: 14px; align-items: center }
.number { flex: 1; display: flex; flex-wrap: wrap; gap: 0 30px; align-items: center; justify-content: center; text-align: center }
.number b { font-size: 34px; font-weight: 600; display: block } .number.full { border-radius: 3px; color: #fff }
svg { flex: 1; width: 100%; min-height: 0; display: block } .legend { display: flex; flex-wrap: wrap; gap: 0 12px; font-size: 11px; color: #b0b0c0 }
i { display: inline-block; width: 12px; height: 3px; vertical-align: middle; margin-right: 5px; border-radius: 1px }
table { border-collapse: collapse; width: 100%; font-size: 12px } th { text-align: left; color: #8ab8ff; font-weight: 600 }
td, th { padding: 3px 8px; border-bottom: 1px solid #25282e; white-space: nowrap } td + td, th + th { text-align: right } .heat td { padding: 9px 8px } .heat td + td { text-align: center; border: 1px solid #181b1f } .heat th + th { text-align: center }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 5px 10px; align-content: space-evenly; flex: 1 }
.bar { background: #22252b; border-radius: 2px } .bar div { height: 100%; min-height: 16px; border-radius: 2px; background: linear-gradient(90deg, #1f60c4, #8ab8ff) }
.columns { display: flex; flex: 1; gap: 10px; align-items: stretch } .columns > div { flex: 1; display: flex; flex-direction: column; text-align: center }
.columns .bar { flex: 1; display: flex; align-items: flex-end } .columns .bar div { width: 100%; background: linear-gradient(0deg, #1f60c4, #8ab8ff) }
@media (max-width: 768px) { main { display: flex; flex-direction: column } section { flex: none } }
"""


def main():
    cache.require("chromium")
    with watched(RATE) as all_up:
        began = time.monotonic()
        all_up.until("enough to show", lambda: time.monotonic() - began > SECONDS, 2 * SECONDS)
        pages = {path.stem: page(path, all_up) for path in panels.FILES}
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages.items():
        photograph(name, text)
    print(f"written: {FOLDER.relative_to(ROOT)}")


def page(path, all_up):
    board = panels.dashboard(path)
    sections = "".join(section(panel, panels.ask(panel, all_up.prometheus, all_up.redis, SECONDS - 10))
                       for panel in board["panels"])
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<title>{board["title"]}</title><style>{STYLE}</style><h1>{board["title"]}</h1>'
            f'<p class="about">{board["description"]}</p><main>{sections}</main></html>')


def section(panel, answer):
    place = panel["gridPos"]
    style = f'grid-column: {place["x"] + 1} / span {place["w"]}; height: {place["h"] * ROW + (place["h"] - 1) * 4}px'
    draw = {"stat": numbers, "piechart": pie, "table": table, "bargauge": bars, "timeseries": lines, "text": words}
    return f'<section style="{style}"><h2>{html.escape(panel["title"])}</h2>{draw[panel["type"]](panel, answer)}</section>'


# ---------------------------------------------------------------- figures and their units

def shown(panel, value):
    defaults = panel["fieldConfig"]["defaults"]
    unit, decimals = defaults.get("unit", "short"), defaults.get("decimals")
    if math.isnan(value) or math.isinf(value):
        return "∞" if value > 0 else "–"
    match unit:
        case "percentunit": return f"{100 * value:.{decimals or 0}f} %"
        case "s": return seconds(value)
        case "bytes": return scaled(value, 1024, ["B", "KiB", "MiB", "GiB"])
        case "joule": return f"{value:,.{1 if decimals is None else decimals}f} J"
        case "watt": return f"{value:.2f} W" if value >= 1 else f"{1000 * value:.0f} mW"
        case "massg": return f"{value:.{4 if decimals is None else decimals}f} g"
        case "locale": return f"{value:,.0f}" if decimals in (None, 0) else f"{value:,.{decimals}f}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def seconds(value):
    if value == 0:
        return "0 s"
    if value < 0.001:
        return f"{1e6 * value:.0f} µs"
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"


def scaled(value, base, units):
    power = min(len(units) - 1, int(math.log(value, base))) if value >= 1 else 0
    return f"{value / base ** power:.3g} {units[power]}"


def colour(number):
    if number < len(PALETTE):
        return PALETTE[number]
    red, green, blue = colorsys.hls_to_rgb(number * 0.618 % 1, 0.6, 0.55)
    return f"#{int(255 * red):02x}{int(255 * green):02x}{int(255 * blue):02x}"


# ---------------------------------------------------------------- panels

def numbers(panel, answer):
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    full = panel["options"]["colorMode"] == "background"

    def one(name, value):
        reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
        style = "" if full else f"color: {COLOURS[reached]}"
        label = name if len(answer.values) > 1 or "source" in panel["targets"][0].get("legendFormat", "") else ""
        return COLOURS[reached], f'<div>{html.escape(label)}<b style="{style}">{shown(panel, value)}</b></div>'

    drawn = [one(name, value) for name, value in answer.values]
    background = f' full" style="background: {drawn[0][0]}' if full and drawn else ""
    return f'<div class="number{background}">{"".join(text for _, text in drawn)}</div>'


def pie(_, answer):
    values = sorted(answer.values, key=lambda pair: -pair[1])
    total, angle, slices, labels = sum(value for _, value in values), -math.pi / 2, [], []
    for number, (name, value) in enumerate(values):
        end = angle + 2 * math.pi * value / total
        large = int(end - angle > math.pi)
        slices.append(f'<path d="M0 0 L{100 * math.cos(angle):.2f} {100 * math.sin(angle):.2f} A100 100 0 {large} 1 '
                      f'{100 * math.cos(end):.2f} {100 * math.sin(end):.2f} Z" fill="{colour(number)}" stroke="#181b1f" stroke-width=".5"/>')
        middle = (angle + end) / 2
        if value / total > 0.045:
            labels.append(f'<text x="{72 * math.cos(middle):.1f}" y="{72 * math.sin(middle):.1f}" font-size="6" fill="#111" '
                          f'text-anchor="middle">{html.escape(name)}<tspan x="{72 * math.cos(middle):.1f}" dy="7">'
                          f'{100 * value / total:.0f} %</tspan></text>')
        angle = end
    legend = "".join(f'<tr><td><i style="background: {colour(n)}"></i>{html.escape(name)}</td><td>{100 * value / total:.1f} %</td></tr>'
                     for n, (name, value) in enumerate(values[:17]))
    return (f'<div class="body row"><svg viewBox="-102 -102 204 204" style="height: 100%">{"".join(slices + labels)}</svg>'
            f'<div style="overflow: hidden; align-self: stretch"><table>{legend}</table></div></div>')


def table(panel, answer):
    is_heat = any(step["id"] == "groupingToMatrix" for step in panel["transformations"])
    most = max((cell for row in answer.rows for cell in row[1:]), default=1) or 1

    def cell(value):
        if isinstance(value, str):
            return f"<td>{html.escape(value)}</td>"
        if not is_heat:
            return f"<td>{value:,.0f}</td>"
        share = value / most
        red, green, blue = (int(a + (b - a) * share) for a, b in zip((30, 60, 160), (190, 80, 215)))
        return f'<td style="background: rgb({red}, {green}, {blue}); color: #fff">{value:,.0f}</td>'

    head = "".join(f"<th>{html.escape(name)}</th>" for name in answer.columns)
    body = "".join(f'<tr>{"".join(map(cell, row))}</tr>' for row in answer.rows[:40])
    return f'<div class="body" style="overflow: hidden"><table class="{"heat" * is_heat}"><tr>{head}</tr>{body}</table></div>'


def bars(panel, answer):
    most = max((value for _, value in answer.values), default=1) or 1
    if panel["options"]["orientation"] == "vertical":
        values = sorted(answer.values)
        return '<div class="columns">' + "".join(
            f'<div>{shown(panel, value)}<div class="bar"><div style="height: {100 * value / most:.1f}%"></div></div>{html.escape(name)}</div>'
            for name, value in values) + "</div>"
    return '<div class="bars">' + "".join(
        f'<div>{html.escape(name)}</div><div class="bar"><div style="width: {100 * value / most:.1f}%"></div></div><div>{shown(panel, value)}</div>'
        for name, value in answer.values) + "</div>"


def lines(panel, answer):
    place = panel["gridPos"]  # of a wide page; text keeps its size
    width, height, left, bottom = 57 * place["w"] - 22, place["h"] * (ROW + 4) - 70, 62, 18
    stacked = panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking", {}).get("mode") == "normal"
    drawn = [(name, [(at, value) for at, value in points if math.isfinite(value)]) for name, points in answer.lines]
    base = {}
    if stacked:
        for _, points in drawn:
            points[:] = [(at, base.setdefault(at, 0) + value) for at, value in points]
            base.update(points)
    every = [point for _, points in drawn for point in points]
    begin, end = min((at for at, _ in every), default=0), max((at for at, _ in every), default=1)
    top = nice(max((value for _, value in every), default=1) or 1)

    def x(at):
        return left + (width - left - 4) * (at - begin) / (end - begin or 1)

    def y(value):
        return 6 + (height - bottom - 6) * (1 - value / top)

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = y(top * share)
        parts.append(f'<path d="M{left} {at:.1f}H{width - 4}" stroke="#2a2d33"/><text x="{left - 6}" y="{at + 3:.1f}" font-size="9.5" '
                     f'fill="#9a9aac" text-anchor="end">{shown(panel, top * share)}</text>')
    for share in (0, 0.5, 1):
        clock = time.strftime("%H:%M:%S", time.gmtime(begin + share * (end - begin)))
        anchor = {0: "start", 0.5: "middle", 1: "end"}[share]
        parts.append(f'<text x="{x(begin + share * (end - begin)):.0f}" y="{height - 4}" font-size="9.5" fill="#9a9aac" '
                     f'text-anchor="{anchor}">{clock}</text>')
    for number, (_, points) in reversed(list(enumerate(drawn))):
        if points:
            path = " L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in points)
            parts.append(f'<path d="M{x(points[0][0]):.1f} {y(0):.1f} L{path} L{x(points[-1][0]):.1f} {y(0):.1f}Z" fill="{colour(number)}" '
                         f'opacity="{0.3 if stacked else 0.07}"/><path d="M{path}" fill="none" stroke="{colour(number)}" stroke-width="1.4"/>')
    legend = "".join(f'<span><i style="background: {colour(n)}"></i>{html.escape(name)}</span>' for n, (name, _) in enumerate(drawn))
    return (f'<div class="body"><svg viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
            f'<div class="legend">{legend}</div></div>')


def nice(value):
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if step * power >= value * 1.02 or step == 10)


def words(panel, _):
    bold = html.escape(panel["options"]["content"]).split("**")
    return "<p>" + "".join(f"<b>{text}</b>" if number % 2 else text for number, text in enumerate(bold)) + "</p>"


# ---------------------------------------------------------------- pictures

def photograph(name, text):
    with tempfile.TemporaryDirectory(prefix="aguacero-render-") as folder:
        file = Path(folder, f"{name}.html")
        file.write_text(text)
        for suffix, width in WIDTHS.items():
            height = int(chromium(folder, width, 800, "--dump-dom", with_height(file)).rpartition("height=")[2].split('"')[0])
            chromium(folder, width, height, f"--screenshot={FOLDER / (name + suffix)}.png", file)


def with_height(file):
    """A page that tells how high it is."""
    telling = file.with_suffix(".height.html")
    telling.write_text(file.read_text() + "<script>document.title = 'height=' + document.documentElement.scrollHeight;"
                       "document.body.innerHTML = ''; document.body.dataset.told = document.title</script>")
    return telling


def chromium(folder, width, height, *arguments):
    *flags, file = arguments
    done = subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile",
                           f"--window-size={width},{height}", *flags, f"file://{file}"], capture_output=True, text=True, timeout=120)
    if done.returncode:
        sys.exit(f"chromium failed:\n{done.stderr[-1000:]}")
    return done.stdout
