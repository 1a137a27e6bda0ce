"""The Grafana dashboard against the documented metrics and what is provisioned."""

import functools
import json
import re

from deployment import DEPLOY, ROOT, compose, load


@functools.cache
def dashboard():
    return json.loads((DEPLOY / "grafana" / "dashboards" / "concord.json").read_text())


def test_every_metric_of_the_dashboard_is_documented():
    page = (ROOT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) | {"up"}
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    for expression in expressions:
        used = set(re.findall(r"\b((?:concord|process)_\w+|up)\b", expression))
        used = {re.sub(r"_seconds_bucket$", "_seconds", name) for name in used}
        assert used and used <= documented, expression


def test_the_dashboard_asks_the_data_source_that_is_provisioned():
    source = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]
    asked = {panel["datasource"]["uid"] for panel in dashboard()["panels"]}
    asked |= {target["datasource"]["uid"] for p in dashboard()["panels"] for target in p["targets"]}
    assert asked == {source["uid"]}
    grafana = compose()["services"]["grafana"]["volumes"]
    folder = load("grafana/provisioning/dashboards/concord.yaml")["providers"][0]["options"]["path"]
    assert any(volume.split(":")[1] == folder for volume in grafana)


def test_panels_lie_beside_one_another():
    taken = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
