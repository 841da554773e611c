"""The fields of KubeRay 1.7 that `deploy/kubernetes` uses, with their types, as a JSON schema.

Only these: any other name is an error here, also where KubeRay would know it. Pod templates are checked by Kubernetes'
own schemas. KubeRay itself refuses `resources` beside resources in `rayStartParams`, worker groups without
`minReplicas` or `maxReplicas` where nothing scales, and a token without a Ray version of 2.52 or newer.
"""

from __future__ import annotations

from typing import Any


def record(required: list[str], **fields: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {"type": "object", "additionalProperties": False, "required": required, "properties": fields}


COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {
        "^num-cpus$|^num-gpus$|^object-store-memory$": {"type": "string", "pattern": "^[0-9]+$"},
        "^dashboard-host$": {"type": "string"},
    },
}
"""Options of `ray start` without their dashes; Kubernetes takes texts only."""

AUTH = record(["mode"], mode={"enum": ["disabled", "token"]})
HEAD = record(
    ["rayStartParams", "template"],
    serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    rayStartParams=OPTIONS,
    template={"type": "object"},
)
WORKERS = record(
    ["groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"],
    groupName={"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=OPTIONS,
    template={"type": "object"},
)
AUTOSCALER = record([], idleTimeoutSeconds=COUNT, resources={"type": "object"})
CLUSTER = record(
    ["rayVersion", "headGroupSpec", "workerGroupSpecs"],
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=AUTH,
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=AUTOSCALER,
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "minItems": 1, "items": WORKERS},
)
JOB = record(
    ["entrypoint", "rayClusterSpec"],
    entrypoint={"type": "string", "minLength": 1},
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    backoffLimit=COUNT,
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished=COUNT,
    rayClusterSpec=CLUSTER,
)


def resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A whole manifest; KubeRay cuts no name, and one of a cluster has at most 63 characters with its suffixes."""
    metadata = record(["name"], name={"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 40})
    return record(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


SCHEMAS = {"RayCluster": resource("RayCluster", CLUSTER), "RayJob": resource("RayJob", JOB)}
