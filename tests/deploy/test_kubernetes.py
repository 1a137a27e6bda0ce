"""The manifests, rendered and validated without a cluster."""

import re
from pathlib import Path

import jsonpatch
import kubernetes_validate
import pytest

from deployment import flags, load, server_flags

# gRPC probes are stable from 1.27 on, a claim's retention policy from 1.32.
KUBERNETES = ("1.32", "1.37")
OVERLAYS = ("base", "secured")


def manifests(overlay):
    """The resources that `kubectl apply -k` would send, by kind."""
    folder = Path("kubernetes") / "base"
    found = [load(folder / name) for name in load(folder / "kustomization.yaml")["resources"]]
    resources = {resource["kind"]: resource for resource in found}
    if overlay != "base":
        for patch in load(Path("kubernetes") / overlay / "kustomization.yaml")["patches"]:
            operations = load(Path("kubernetes") / overlay / patch["path"])
            kind = patch["target"]["kind"]
            assert resources[kind]["metadata"]["name"] == patch["target"]["name"]
            resources[kind] = jsonpatch.apply_patch(resources[kind], operations)
    return resources


def container(overlay):
    return manifests(overlay)["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(overlay, version):
    for resource in manifests(overlay).values():
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_validation_refuses_a_field_that_there_is_not():
    resource = manifests("base")["StatefulSet"]
    resource["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_flags_that_there_are_and_limits_from_the_map(overlay):
    arguments = container(overlay)["args"]
    assert flags(arguments) <= server_flags()
    used = set(re.findall(r"\$\((\w+)\)", " ".join(arguments)))
    assert used == set(manifests(overlay)["ConfigMap"]["data"])


def test_probes_ask_by_grpc_and_behind_tls_by_http():
    kinds = ("startupProbe", "readinessProbe", "livenessProbe")
    plain, secured = container("base"), container("secured")
    assert [plain[kind]["grpc"]["port"] for kind in kinds] == [50051] * 3
    assert all("grpc" not in secured[kind] for kind in kinds)
    assert [secured[kind]["httpGet"]["path"] for kind in kinds] == ["/healthz"] * 3


def test_secrets_lie_where_the_flags_look_and_nothing_is_unencrypted():
    secured = container("secured")
    assert "--allow-insecure-remote" not in secured["args"]
    mounts = [mount["mountPath"] for mount in secured["volumeMounts"]]
    for flag in ("--tls-cert", "--tls-key", "--token-file"):
        path = next(a.split("=")[1] for a in secured["args"] if a.startswith(f"{flag}="))
        assert str(Path(path).parent) in mounts


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_labels_and_ports_fit_together(overlay):
    resources = manifests(overlay)
    pod = resources["StatefulSet"]["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    for selector in (
        resources["StatefulSet"]["spec"]["selector"]["matchLabels"],
        resources["Service"]["spec"]["selector"],
        resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    ports = {port["containerPort"] for port in container(overlay)["ports"]}
    rules = resources["NetworkPolicy"]["spec"]["ingress"]
    assert {port["port"] for port in resources["Service"]["spec"]["ports"]} == ports
    assert {port["port"] for rule in rules for port in rule["ports"]} == ports


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_time_to_drain_and_no_more_rights_than_needed(overlay):
    pod = manifests(overlay)["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 30
    assert pod["securityContext"]["runAsNonRoot"] is True
    rights = container(overlay)["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
