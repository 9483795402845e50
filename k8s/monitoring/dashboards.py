"""The dashboards of Grafana, as code: `scripts/watch dashboards` writes dashboards/*.json from this file.

Built with Grafana's own SDK, whose classes are made from the schema of each kind of panel. A panel's
query is asked for real in `scripts/watch test`, and drawn for docs/dashboards.md by `scripts/watch render`.
"""

import json
from pathlib import Path

from grafana_foundation_sdk.builders import (bargauge, common, dashboard, piechart, prometheus, stat, table,
                                             text, timeseries)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (BarGaugeDisplayMode, BigValueColorMode, BigValueGraphMode,
                                                  LegendDisplayMode, LegendPlacement, StackingMode,
                                                  TableCellHeight, VisibilityMode, VizOrientation)
from grafana_foundation_sdk.models.dashboard import (DashboardCursorSync, DataSourceRef, DataTransformerConfig,
                                                     DynamicConfigValue, GridPos, Threshold, ThresholdsMode)
from grafana_foundation_sdk.models.piechart import PieChartLabels, PieChartLegendValues, PieChartType

FOLDER = Path(__file__).resolve().parent / "dashboards"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
REDIS = DataSourceRef(type_val="redis-datasource", uid="redis")
RATE = "$__rate_interval"
COLUMNS = 24


class RedisQuery(Dataquery):
    """HGETALL of one key: one row, with a column for each field. (The plugin's streaming is blank since Grafana 10, so
    the dashboard asks every second.)"""

    def __init__(self, key):
        self.key = key

    def build(self):
        return self

    def to_json(self):
        return {"refId": "A", "datasource": REDIS, "type": "command", "command": "hgetall", "keyName": self.key,
                "query": ""}


class Board:
    """A dashboard whose panels are put side by side, row by row."""

    def __init__(self, name, title, description, refresh, minutes):
        self.name = name
        self.builder = (dashboard.Dashboard(title).uid(f"aguacero-{name}").description(description)
                        .tags(["aguacero"]).refresh(refresh).time(f"now-{minutes}m", "now").timezone("browser")
                        .tooltip(DashboardCursorSync.CROSSHAIR).readonly())
        self.x = self.y = self.height = 0
        self.panels = 0

    def add(self, panel, title, width, height, about=""):
        if self.x + width > COLUMNS:
            self.x, self.y = 0, self.y + self.height
        self.height, self.panels = height, self.panels + 1
        panel.id(self.panels).title(title).grid_pos(GridPos(h=height, w=width, x=self.x, y=self.y))
        if about:
            panel.description(about)
        self.builder.with_panel(panel)
        self.x += width

    def json(self):
        return json.dumps(self.builder.build(), cls=JSONEncoder, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


# ---------------------------------------------------------------- kinds of panels

def asked(panel, *queries, instant=False):
    """`queries` of PromQL, each with its legend."""
    panel.datasource(PROMETHEUS)
    for number, (expr, legend) in enumerate(queries):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(chr(ord("A") + number)).datasource(PROMETHEUS)
        panel.with_target(query.instant() if instant else query.range())
    return panel


def of_redis(panel, key):
    return panel.datasource(REDIS).with_target(RedisQuery(key))


def every_field():
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("/.*/").values(False)


def number(unit="locale", decimals=None, name=None, steps=None, coloured=False):
    panel = (stat.Panel().unit(unit).graph_mode(BigValueGraphMode.NONE).reduce_options(every_field())
             .color_mode(BigValueColorMode.BACKGROUND if coloured else BigValueColorMode.VALUE)
             .thresholds(thresholds(steps or [(None, "blue")])))
    if decimals is not None:
        panel.decimals(decimals)
    return panel.display_name(name) if name else panel


def thresholds(steps):
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value=value, color=color)
                                                                            for value, color in steps])


def lines(unit="short", *queries, stacked=False):
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    panel = (timeseries.Panel().unit(unit).min(0).legend(legend).line_width(1).fill_opacity(30 if stacked else 8)
             .show_points(VisibilityMode.NEVER))
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return asked(panel, *queries)


def pie(key):
    legend = (piechart.PieChartLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.RIGHT)
              .show_legend(True).values([PieChartLegendValues.PERCENT]))
    panel = (piechart.Panel().pie_type(PieChartType.PIE).reduce_options(every_field()).legend(legend)
             .display_labels([PieChartLabels.NAME, PieChartLabels.PERCENT]))
    return of_redis(panel, key)


def bars(key, orientation):
    panel = (bargauge.Panel().orientation(orientation).display_mode(BarGaugeDisplayMode.GRADIENT).min(0)
             .reduce_options(every_field()).thresholds(thresholds([(None, "blue")])))
    return of_redis(panel, key)


def rows(key, field, value):
    """The one row of a hash as a table, the greatest first."""
    panel = (table.Panel().cell_height(TableCellHeight.SM)
             .with_transformation(DataTransformerConfig("reduce", options={"mode": "seriesToRows", "reducers": ["lastNotNull"]}))
             .with_transformation(DataTransformerConfig("organize", options={"renameByName": {"Field": field, "Last *": value}}))
             .with_transformation(DataTransformerConfig("sortBy", options={"sort": [{"field": value, "desc": True}]})))
    return of_redis(panel, key)


def heat(key, row, column):
    """A hash whose keys are ROW|COLUMN, as a table whose cells are coloured by how much they hold."""
    pattern = f"/^(?<{row}>.*)\\|(?<{column}>[^|]*)$/"
    panel = (table.Panel().cell_height(TableCellHeight.MD)
             .with_transformation(DataTransformerConfig("reduce", options={"mode": "seriesToRows", "reducers": ["lastNotNull"]}))
             .with_transformation(DataTransformerConfig("extractFields", options={"source": "Field", "format": "regexp", "regExp": pattern}))
             .with_transformation(DataTransformerConfig("groupingToMatrix", options={"rowField": row, "columnField": column,
                                                                             "valueField": "Last *", "emptyValue": "zero"}))
             .color_scheme(dashboard.FieldColor().mode("continuous-BlPu")).inspect(False)
             .override_by_field_type("number", [DynamicConfigValue("custom.cellOptions",
                                                                   {"type": "color-background", "mode": "basic"})]))
    return of_redis(panel, key)


def words(content):
    return text.Panel().mode("markdown").content(content)


# ---------------------------------------------------------------- the dashboards

# `consumer tables` and processors tell the consumer's metrics: whose they are, each process's own metric says.
PROCESS = " * on (instance) group_left (process) aguacero_build_info"
ARCHIVE = ' and on (instance) aguacero_build_info{process="consumer"}'


def per_second(metric, by=""):
    return f"sum{f' by ({by})' if by else ''} (rate({metric}[{RATE}]))"


def quantile(share, metric):
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket[{RATE}]){ARCHIVE if 'consumer' in metric else ''}))"


def weather():
    board = Board("weather", "Weather", "Messages by country, live from Redis", "1s", 5)
    board.add(of_redis(number(name="Messages"), "{weather}:total"), "Messages", 6, 6, "All that were ever counted")
    stored = 'aguacero_gateway_events_total{stream="weather", outcome="stored"}'
    board.add(lines("short", (per_second(stored), "messages")), "Messages a second", 18, 6)
    board.add(pie("{weather}:by_country"), "Messages by country", 12, 14)
    board.add(rows("{weather}:by_country", "Country", "Messages"), "Messages per Country", 12, 14)
    return board


def votes():
    board = Board("votes", "Votes", "Votes for bands, live from Redis", "1s", 5)
    board.add(of_redis(number(name="Votes"), "{votes}:total"), "Votes", 6, 6)
    stored = 'aguacero_gateway_events_total{stream=~"votes.*", outcome="stored"}'
    board.add(lines("short", (per_second(stored, "to"), "by the {{to}}")), "Votes a second, by route", 18, 6,
              "Each route goes by a producer of its own: /votes/grpc by the kafka-producer, /votes/wasm by the wasm-producer")
    board.add(bars("{votes}:by_name", VizOrientation.HORIZONTAL), "Votes by band", 12, 11)
    board.add(heat("{votes}:by_name_rank", "Band", "Rank"), "Rank by band", 12, 11, "How often each band was given each rank")
    board.add(bars("{votes}:by_rank", VizOrientation.VERTICAL), "Votes by rank", 12, 8)
    board.add(rows("{votes}:by_album", "Album", "Votes"), "Votes per Album", 12, 8)
    return board


def pipeline():
    board = Board("pipeline", "Pipeline", "From the request to the archive", "5s", 15)
    bad = [(None, "green"), (0.001, "orange"), (0.01, "red")]
    events, kept = "aguacero_gateway_events_total", 'aguacero_gateway_events_total{outcome="stored"}'
    failed = 'aguacero_gateway_events_total{outcome=~"not_stored|unknown"}'  # what was refused is its client's
    for panel, title in [
        (asked(number("short", 0, steps=[(None, "blue")]), (per_second(kept), "events"), instant=True), "Events stored a second"),
        (asked(number("percentunit", 2, steps=bad, coloured=True),
               (f"{per_second(failed)} / {per_second(events)}", "not stored"), instant=True), "Not stored"),
        (asked(number("s", 1), (quantile(0.99, "aguacero_gateway_request_seconds"), "p99"), instant=True), "Request, p99"),
        (asked(number("s", 0, steps=[(None, "green"), (60, "orange"), (1800, "red")], coloured=True),
               (f"max(aguacero_consumer_lag_seconds{ARCHIVE})", "late"), instant=True), "Archive is late by"),
        (asked(number("short", 0, steps=[(None, "green"), (1, "orange")], coloured=True),
               ("sum(aguacero_consumer_dead_letters_total)", "dead letters"), instant=True), "Dead letters"),
        (asked(number("s", 0, steps=[(None, "red"), (172800, "orange"), (1209600, "green")]),
               ("min(aguacero_gateway_certificate_expires_seconds) - time()", "left"), instant=True), "Certificate left"),
    ]:
        board.add(panel, title, 4, 4)
    board.add(lines("short", (per_second("aguacero_gateway_answers_total", "stream, status"), "{{stream}} {{status}}")),
              "Answers a second, by stream and status", 12, 8)
    board.add(lines("short", (per_second(events, "stream, outcome"), "{{stream}} {{outcome}}")),
              "Events a second, by stream and outcome", 12, 8)
    stages = [("aguacero_gateway_request_seconds", "whole request"), ("aguacero_gateway_slab_seconds", "wait for Kafka"),
              ("aguacero_producer_slab_seconds", "kafka-producer and Kafka"), ("aguacero_redis_writer_pipeline_seconds", "Redis"),
              ("aguacero_consumer_archive_seconds", "MongoDB"), ("aguacero_consumer_freshness_seconds", "arrival to archive")]
    for share, name in ((0.5, "half of them"), (0.99, "99 of 100")):
        board.add(lines("s", *((quantile(share, metric), stage) for metric, stage in stages)),
                  f"Latency by stage: {name} are faster", 12, 8)
    board.add(lines("short", (f"sum by (process, topic) (aguacero_consumer_lag{PROCESS})", "{{process}}: {{topic}}")),
              "Lag in records", 8, 7)
    board.add(lines("s", (f"max by (process, topic) (aguacero_consumer_lag_seconds{PROCESS})", "{{process}}: {{topic}}")),
              "Lag in seconds", 8, 7)
    board.add(lines("short", ("max by (stream) (aguacero_consumer_pending_entries)", "{{stream}} live, not settled"),
                    ("max by (stream) (aguacero_consumer_counters_behind_seconds)", "{{stream}} seconds behind")),
              "Ledger: what waits to be settled", 8, 7)
    board.add(lines("bytes", ("sum(aguacero_gateway_bytes_in_flight)", "gateway, until the receipt"),
                    ("sum(aguacero_producer_bytes_in_flight)", "kafka-producer, until Kafka's word")), "Queues", 8, 7)
    sent = "aguacero_gateway_frame_bytes_total"
    board.add(lines("bytes", (f"{per_second(sent)} / {per_second('aguacero_gateway_frames_total')}", "frame"),
                    (f"{per_second(sent)} / {per_second('aguacero_gateway_slabs_total')}", "slab")), "Mean size", 8, 7)
    board.add(lines("short", (per_second("aguacero_gateway_receipts_total"), "receipts"),
                    (per_second("aguacero_gateway_slabs_resent_total"), "slabs sent again"),
                    (per_second("aguacero_gateway_link_breaks_total", "to"), "connection to {{to}} broke")),
              "Receipts, resends, reconnects a second", 8, 7)
    board.add(lines("short", (per_second("aguacero_gateway_events_refused_total", "reason"), "refused: {{reason}}"),
                    (per_second("aguacero_gateway_not_stored_total", "reason"), "not stored: {{reason}}")),
              "Refusals a second, by reason", 12, 8)
    board.add(lines("short", (f"sum by (process, reason) (aguacero_consumer_dead_letters_total{PROCESS})", "{{process}}: {{reason}}")),
              "Dead letters, by reason", 12, 8)
    board.add(lines("short", (f"sum by (process) (rate(process_cpu_seconds_total[{RATE}]){PROCESS})", "{{process}}")),
              "Processors in use", 8, 7)
    board.add(lines("bytes", (f"sum by (process) (process_resident_memory_bytes{PROCESS})", "{{process}}")), "Memory", 8, 7)
    board.add(lines("short", (f"sum by (process) (process_open_fds{PROCESS})", "{{process}}")), "Open files", 8, 7)
    return board


def energy():
    board = Board("energy", "Energy and carbon", "Joules and gCO2e by pod, and for a million stored events", "15s", 60)
    board.add(words("**source=meter** is what Kepler has measured (RAPL, zone package). **source=model** is no measurement: "
                    "4.11 J for each second of a busy processor (Cloud Carbon Footprint's median of Google Cloud). "
                    "Carbon is Software Carbon Intensity 1.1: energy × grid of the region × 1.1 (PUE) + a share of making the "
                    "machine. See docs/energy.md."), "What this is", 24, 3)
    board.add(asked(number("joule", 1), ("aguacero:joules_per_million_events", "{{source}}"), instant=True),
              "Joules for a million stored events", 8, 6)
    board.add(asked(number("watt", 2), ("aguacero:watts", "{{source}}"), instant=True), "Power", 8, 6)
    board.add(asked(number("short", 0), ("aguacero:stored_events:rate5m", "events"), instant=True), "Events stored a second", 8, 6)
    regions = asked(bargauge.Panel().unit("massg").decimals(4).min(0).orientation(VizOrientation.HORIZONTAL)
                    .display_mode(BarGaugeDisplayMode.GRADIENT).thresholds(thresholds([(None, "green")]))
                    .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])),
                    ("aguacero:gco2e_per_million_events", "{{region}}"), instant=True)
    board.add(regions, "gCO2e for a million stored events, by region", 12, 8)
    board.add(lines("watt", ("sum by (pod, source) (pod:watts)", "{{pod}} ({{source}})"), stacked=True), "Power by pod", 12, 8)
    board.add(lines("short", ("sum by (pod) (pod:cpu_seconds:rate5m)", "{{pod}}"), stacked=True), "Processors by pod", 12, 8)
    board.add(lines("massg", ("3600 * aguacero:gco2e:rate5m", "{{region}}")), "gCO2e an hour, by region", 12, 8)
    return board


BOARDS = (weather, votes, pipeline, energy)


def written():
    """The JSON of each dashboard, by the name of its file."""
    return {f"{board.name}.json": board.json() for board in (make() for make in BOARDS)}


def write():
    FOLDER.mkdir(exist_ok=True)
    for name, content in written().items():
        (FOLDER / name).write_text(content)
