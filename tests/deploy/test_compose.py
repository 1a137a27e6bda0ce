"""The local cluster of deploy/compose.yaml, read and not started."""

import re

from deployment import DEPLOY, ROOT, compose, dockerfile_stage, flags, load, server_flags


def worker_command(rank):
    """With the defaults of the file's variables."""
    command = compose()["services"][f"worker-{rank}"]["command"]
    return [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", argument) for argument in command]


def test_three_workers_make_the_demos_three_ranks(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "client" / "examples")
    from burgers import join

    memory = dockerfile_stage("worker").split("VOLUME")[1].split('"')[1]
    found = []
    for rank in range(3):
        command = worker_command(rank)
        assert f"--memory={memory}" in command
        command[command.index(f"--memory={memory}")] = f"--memory={tmp_path}"
        monkeypatch.setattr("sys.argv", ["join", *command])
        found.append(vars(join._arguments()))
    assert [arguments.pop("rank") for arguments in found] == [0, 1, 2]
    assert found[0] == found[1] == found[2]
    assert "worker-3" not in compose()["services"]


def test_the_clusters_server_has_flags_that_there_are():
    assert flags(compose()["services"]["server"]["command"]) <= server_flags()


def test_images_folders_and_volumes_of_the_cluster_are_there():
    volumes = set(compose()["volumes"])
    for name, service in compose()["services"].items():
        if "build" in service:
            context = (DEPLOY / service["build"]["context"]).resolve()
            assert (context / "Dockerfile").is_file(), name
            if "target" in service["build"]:
                assert dockerfile_stage(service["build"]["target"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            found = (DEPLOY / source).exists() if source.startswith(".") else source in volumes
            assert found, volume


def test_the_cluster_is_reached_from_this_machine_alone():
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_prometheus_scrapes_the_port_on_which_the_server_tells_its_metrics():
    job = load("prometheus/prometheus.yaml")["scrape_configs"][0]
    assert job["static_configs"][0]["targets"] == ["server:9464"]
    assert "--metrics-listen=0.0.0.0:9464" in compose()["services"]["server"]["command"]
    rules = (DEPLOY / "prometheus" / "alerts.yaml").read_text()
    assert set(re.findall(r'job="(\w+)"', rules)) == {job["job_name"]}
