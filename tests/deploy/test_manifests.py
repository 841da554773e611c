"""`deploy/kubernetes` and `deploy/ray-up.yaml` against their schemas, and what a search needs of them."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from ray._private import ray_constants

from nasdet.cli.main import cli
from tests.deploy.kuberay import SCHEMAS

DEPLOY = Path(__file__).parents[2] / "deploy"
RAY_KINDS = ("raycluster.yaml", "rayjob.yaml")
NASDET_HOME = "/shared/nasdet"
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / name).read_text()))


def manifest(name: str) -> dict[str, Any]:
    return read(f"kubernetes/{name}")


def cluster(given: dict[str, Any]) -> dict[str, Any]:
    return dict(given["spec"].get("rayClusterSpec", given["spec"]))


def check(given: dict[str, Any]) -> None:
    """Raise where KubeRay or Kubernetes would refuse a manifest."""
    jsonschema.validate(given, SCHEMAS[given["kind"]])
    for template in templates(given):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
        mounted = {mount["name"] for each in template["spec"]["containers"] for mount in each["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in template["spec"]["volumes"]}


def templates(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The head's pod and those of the workers."""
    spec = cluster(given)
    yield spec["headGroupSpec"]["template"]
    yield from (group["template"] for group in spec["workerGroupSpecs"])


@pytest.mark.parametrize("name", RAY_KINDS)
def test_kuberay_takes_them(name: str) -> None:
    check(manifest(name))


def wrong_name(given: dict[str, Any]) -> None:
    cluster(given)["workerGroupSpecs"][0]["maxReplica"] = 3


def number_as_option(given: dict[str, Any]) -> None:
    cluster(given)["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0


def no_size(given: dict[str, Any]) -> None:
    next(templates(given))["spec"]["volumes"][1]["emptyDir"] = {"medium": "Memory", "size": "1Gi"}


def no_such_volume(given: dict[str, Any]) -> None:
    next(templates(given))["spec"]["volumes"].pop()


@pytest.mark.parametrize("spoil", [wrong_name, number_as_option, no_size, no_such_volume])
@pytest.mark.parametrize("name", RAY_KINDS)
def test_a_mistake_would_be_noticed(name: str, spoil: Callable[[dict[str, Any]], None]) -> None:
    given = copy.deepcopy(manifest(name))
    spoil(given)
    errors = (jsonschema.ValidationError, kubernetes_validate.ValidationError, AssertionError)
    with pytest.raises(errors):
        check(given)


def test_the_volume_is_for_all_pods() -> None:
    claim = manifest("storage.yaml")
    kubernetes_validate.validate(claim, kubernetes_validate.latest_version(), strict=True)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in RAY_KINDS:
        for template in templates(manifest(name)):
            volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
            assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.parametrize("name", RAY_KINDS)
def test_what_a_search_needs_of_every_pod(name: str) -> None:
    """The same folders at the same paths, and a /dev/shm that data loaders can use."""
    for template in templates(manifest(name)):
        (container,) = template["spec"]["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert mounts["/shared"] == "shared"
        assert {"name": "NASDET_HOME", "value": NASDET_HOME} in container["env"]
        assert container["image"] == "IMAGE"
        assert template["spec"]["securityContext"]["runAsUser"] == 1000


@pytest.mark.parametrize("name", RAY_KINDS)
def test_the_head_trains_nothing_and_stays(name: str) -> None:
    spec = cluster(manifest(name))
    head, (group,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert head["serviceType"] == "ClusterIP" and spec["authOptions"]["mode"] == "token"
    assert "tolerations" not in head["template"]["spec"]
    worker = group["template"]["spec"]
    assert {t["key"] for t in worker["tolerations"]} >= {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    (container,) = worker["containers"]
    drain = {entry["name"]: entry["value"] for entry in container["env"]}[DRAIN]
    assert hasattr(ray_constants, DRAIN) and float(drain) < worker["terminationGracePeriodSeconds"] <= 30
    assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_job_is_a_search_that_a_retry_resumes() -> None:
    job = manifest("rayjob.yaml")["spec"]
    words = shlex.split(job["entrypoint"])
    parsed = options_of(words)
    assert job["backoffLimit"] > 0 and parsed["or_resume"] and str(parsed["study"]).startswith("/shared/")
    assert parsed["address"] == "auto" and parsed["data"].startswith("/shared/")
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    gpus = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert group["replicas"] * gpus == int(parsed["gpus"])


def options_of(words: list[str]) -> dict[str, Any]:
    """The options of a command line of nasdet; raises as the command would."""
    assert words[0] == "nasdet"
    name, command, rest = cli.resolve_command(click.Context(cli), words[1:])
    assert command is not None and name is not None
    return dict(command.make_context(name, rest).params)


def test_ray_up(repository: Path) -> None:
    given = read("ray-up.yaml")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(given, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(given | {"head_start_ray_command": []}, schema)
    options = given["docker"]["run_options"]
    assert f"--env=NASDET_HOME={NASDET_HOME}" in options and "--env=RAY_AUTH_MODE=token" in options
    assert any(re.fullmatch(r"--shm-size=\d+g", option) for option in options)
    head = given["head_start_ray_commands"][-1]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head and "--dashboard-host=127.0.0.1" in head


def test_options_of_ray_start_exist(repository: Path) -> None:
    from ray.scripts.scripts import start

    known = {name for option in start.params for name in option.opts}
    given = read("ray-up.yaml")
    lines = [*given["head_start_ray_commands"], *given["worker_start_ray_commands"]]
    lines += (DEPLOY / "slurm.sbatch").read_text().splitlines()
    used = {
        word for line in lines if "ray start" in line or "options" in line for word in re.findall(r"--[a-z-]+", line)
    }
    slurm = {"--nodes", "--ntasks", "--nodelist", "--overlap"}
    assert {"--head", "--block", "--temp-dir", "--address"} <= used
    assert used - slurm <= known


def test_versions_are_those_of_the_project(repository: Path) -> None:
    """The images, Ray in the manifests, and Ray in the image."""
    import tomllib

    version = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    pinned = dict(re.findall(r"^([a-z-]+)==(.+)$", (repository / "constraints.txt").read_text(), re.MULTILINE))
    for name in RAY_KINDS:
        assert cluster(manifest(name))["rayVersion"] == pinned["ray"]
    pages = [*DEPLOY.rglob("*.*"), DEPLOY / "Dockerfile", repository / "docs" / "cluster.md"]
    tags = {tag for page in pages if page.is_file() for tag in re.findall(r"nasdet:(\d\S*?)-c", page.read_text())}
    assert tags == {version}


def test_no_registry_is_named() -> None:
    """Whoever deploys says where the image is."""
    for path in DEPLOY.rglob("*.yaml"):
        for image in re.findall(r"image: (\S+)", path.read_text()):
            assert image == "IMAGE"
