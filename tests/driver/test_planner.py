"""Plans for clusters of many shapes. Whatever is planned is packed onto the nodes as Ray packs it."""

from __future__ import annotations

import math

import pytest

from nasdet.driver.planner import make_plan
from nasdet.driver.resources import Node, Plan
from nasdet.errors import InputError
from nasdet.space import SearchSpace, load_space
from nasdet.trainers.messages import HOLDER_CPUS


def space(*more: str) -> SearchSpace:
    return load_space("detnet", overrides=[f"resources.{change}" for change in more])


def packed(plan: Plan, nodes: list[Node]) -> int:
    """Groups that Ray can place: their holder and workers first fit, none spread over parts of two GPUs."""
    cpus = [node.cpus for node in nodes]
    gpus = [[1.0] * int(node.gpus) for node in nodes]
    wanted = plan.worker_resources
    groups = 0
    while groups < plan.concurrent and _place(plan, nodes, cpus, gpus, wanted):
        groups += 1
    return groups


def _place(plan: Plan, nodes: list[Node], cpus: list[float], gpus: list[list[float]], wanted: dict[str, float]) -> bool:
    for number in range(plan.workers):
        for i, node in enumerate(nodes):
            gpu = next((j for j, free in enumerate(gpus[i]) if free >= wanted.get("GPU", 0) - 1e-9), None)
            holder = HOLDER_CPUS if number == 0 else 0.0
            if cpus[i] < wanted["CPU"] + holder or (plan.device == "cuda" and gpu is None):
                continue
            if plan.gpu and f"accelerator_type:{node.gpu}" not in wanted:
                continue
            cpus[i] -= wanted["CPU"] + holder
            if gpu is not None:
                gpus[i][gpu] -= wanted.get("GPU", 0)
            break
        else:
            return False
    return True


CPU2, CPU8, GPU1, BOX = Node(2), Node(8), Node(8, 1), Node(96, 8)
PLANS = [
    # nodes, what is asked for, the plan; all of its groups fit now
    ("1 core", [Node(1)], [], Plan("cpu", 1, 1, 1)),
    ("this machine", [CPU2], [], Plan("cpu", 1, 2, 1)),
    ("3 CPU nodes x 2", [CPU2] * 3, [], Plan("cpu", 1, 6, 1)),
    ("a head without CPUs", [Node(0), CPU2, CPU2], [], Plan("cpu", 1, 4, 1)),
    ("one worker, two trials", [Node(0), CPU2, CPU2], ["workers=1", "concurrent=2"], Plan("cpu", 1, 2, 2)),
    ("10 CPU nodes x 8", [CPU8] * 10, [], Plan("cpu", 1, 80, 1)),
    ("10 x 1 GPU", [GPU1] * 10, [], Plan("cuda", 1, 10, 8)),
    ("10 x 1 GPU, one trial", [GPU1] * 10, ["concurrent=1"], Plan("cuda", 1, 1, 8)),
    ("10 x 1 GPU, five trials", [GPU1] * 10, ["concurrent=5"], Plan("cuda", 1, 5, 8)),
    ("2 x 8 GPUs, one trial", [BOX] * 2, ["concurrent=1"], Plan("cuda", 1, 1, 12)),
    ("2 x 8 GPUs, DDP", [BOX] * 2, ["workers=2", "concurrent=2"], Plan("cuda", 2, 2, 12)),
    ("train on 10 x 1 GPU", [GPU1] * 10, ["workers=1", "concurrent=1"], Plan("cuda", 1, 1, 8)),
    ("train on 8 GPUs", [BOX], ["workers=8", "concurrent=1"], Plan("cuda", 8, 1, 12)),
    ("more GPUs than cores", [Node(6, 8)], [], Plan("cuda", 1, 8, 1, cpus_per_worker=0.75)),
    ("rich and poor", [BOX, Node(2, 1)], [], Plan("cuda", 1, 9, 2)),
    ("rich and poor, the rich are enough", [BOX, Node(2, 1)], ["concurrent=8"], Plan("cuda", 1, 8, 12)),
    ("shares of a GPU", [Node(16, 1)], ["gpus_per_worker=0.25"], Plan("cuda", 1, 4, 4, 0.25)),
    ("shares that leave a rest", [Node(16, 2)], ["gpus_per_worker=0.4"], Plan("cuda", 1, 4, 4, 0.4)),
    ("a head beside GPU nodes", [Node(64), GPU1, GPU1], [], Plan("cuda", 1, 2, 8)),
    ("CPUs beside GPUs", [Node(4), GPU1], ["device=cpu"], Plan("cpu", 1, 12, 1)),
    ("little memory", [Node(16, memory_gb=8)], [], Plan("cpu", 1, 5, 3)),
    ("very little memory", [Node(4, memory_gb=1)], [], Plan("cpu", 1, 1, 4)),
    ("memory does not overrule a number", [Node(4, memory_gb=1)], ["concurrent=4"], Plan("cpu", 1, 4, 1)),
    ("unequal nodes, DDP", [Node(3), Node(5)], ["workers=2"], Plan("cpu", 2, 4, 1)),
    ("unequal nodes, one wide trial", [Node(2), Node(8)], ["workers=3", "concurrent=1"], Plan("cpu", 3, 1, 2)),
    ("threads leave cores", [Node(7)], ["threads=3"], Plan("cpu", 1, 2, 3)),
    ("threads across nodes", [Node(3), Node(3)], ["threads=2"], Plan("cpu", 1, 2, 2)),
    ("one kind of two", [Node(8, 2, "A100"), Node(8, 4, "T4")], ["gpu=a100"], Plan("cuda", 1, 2, 4, 1.0, "A100")),
    ("one kind is stated", [Node(8, 2, "A100")], [], Plan("cuda", 1, 2, 4, 1.0, "A100")),
    ("fewer GPUs than there are", [BOX], ["gpus=2"], Plan("cuda", 1, 2, 12)),
    ("a GPU node without CPUs is passed over", [Node(0, 8), GPU1], [], Plan("cuda", 1, 1, 8)),
]


@pytest.mark.parametrize(("nodes", "asked", "plan"), [p[1:] for p in PLANS], ids=[p[0] for p in PLANS])
def test_the_nodes_hold_what_is_planned(nodes: list[Node], asked: list[str], plan: Plan) -> None:
    assert make_plan(space(*asked), nodes) == plan
    assert packed(plan, nodes) == plan.concurrent
    assert not plan.lacking(nodes)


WAITING = [
    # nodes, what is asked for on a cluster that grows, the plan, groups that fit now
    ("no GPU yet", [Node(4)], ["gpus=8"], Plan("cuda", 1, 8, 1), 0),
    ("1 GPU of 8", [GPU1], ["concurrent=8"], Plan("cuda", 1, 8, 8), 1),
    ("1 GPU of 8 by number", [GPU1], ["gpus=8"], Plan("cuda", 1, 8, 8), 1),
    ("DDP on GPUs to come", [GPU1], ["gpus=8", "workers=4"], Plan("cuda", 4, 2, 8), 0),
    ("shares of a GPU to come", [Node(2)], ["gpus=2", "gpus_per_worker=0.5"], Plan("cuda", 1, 4, 1, 0.5), 0),
    ("all workers scaled to 0", [Node(0)], ["concurrent=2"], Plan("cpu", 1, 2, 1), 0),
    ("more trials than fit", [Node(0), CPU2], ["concurrent=6"], Plan("cpu", 1, 6, 1), 2),
    ("one GPU for four trials", [Node(16, 1)], ["concurrent=4"], Plan("cuda", 1, 4, 16), 1),
    ("a kind to come", [Node(4)], ["gpus=1", "gpu=H100"], Plan("cuda", 1, 1, 1, 1.0, "H100"), 0),
]


@pytest.mark.parametrize(("nodes", "asked", "plan", "now"), [w[1:] for w in WAITING], ids=[w[0] for w in WAITING])
def test_a_cluster_may_grow(nodes: list[Node], asked: list[str], plan: Plan, now: int) -> None:
    made = make_plan(space(*asked), nodes, grows=True)
    assert (made.device, made.workers, made.concurrent, made.threads) == (
        plan.device,
        plan.workers,
        plan.concurrent,
        plan.threads,
    )
    assert (made.gpu, made.gpus_per_worker) == (plan.gpu, plan.gpus_per_worker)
    assert made.groups_on(nodes) == packed(made, nodes) == now
    assert f"room for {now} of {plan.concurrent} trial" in made.lacking(nodes)


REFUSED = [
    ([Node(4)], ["workers=5"], "resources.workers: 5 workers per trial but only 4 cores; use --workers 4"),
    ([Node(4)], ["workers=2", "concurrent=3"], "3 trials x 2 workers but only 4 cores; use --concurrent 2"),
    ([Node(4)], ["device=cuda"], "no GPU here; use --set resources.device=cpu or a cluster"),
    ([Node(4)], ["threads=8"], "8 threads for each worker but only 4 cores on the largest node; use .*threads=4"),
    ([Node(4)], ["threads=2", "workers=3"], "3 workers per trial but only room for 2 with 2 threads; use --workers 2"),
    ([CPU2] * 3, ["threads=3"], "3 threads for each worker but only 2 cores on the largest node"),
    ([Node(16, 1)], ["concurrent=4"], "4 trials x 1 worker but only 1 GPU; use --concurrent 1, or let .* share GPUs"),
    ([Node(16, 1)], ["gpus_per_worker=0.5", "concurrent=3"], "3 trials x 1 worker but only room for 2 on the GPUs"),
    ([Node(16, 1)], ["gpus=2"], "resources.gpus: 2 GPUs but only room for 1; use --gpus 1, or --address of a cluster"),
    ([Node(8, 1, "T4")], ["gpu=A100"], "resources.gpu: no GPU here is of kind 'A100', only T4"),
    ([Node(8, 1, "RTX-A"), Node(8, 1, "RTX-B")], ["gpu=rtx"], "'rtx' names several kinds of GPU: RTX-A, RTX-B"),
    ([Node(8, 1, "A100"), Node(8, 1, "T4")], [], "latency_ms on several kinds of GPU: A100, T4; .*resources.gpu=A100"),
    ([Node(0)], [], "no node has CPU cores; start one with ray start --num-cpus N"),
    ([Node(0, 8), Node(4)], [], "no node with a GPU has CPU cores"),
    ([Node(4)], ["gpu=A100"], "no GPU here"),
]


@pytest.mark.parametrize(("nodes", "asked", "message"), REFUSED)
def test_more_than_there_is_is_one_line(nodes: list[Node], asked: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make_plan(space(*asked), nodes)
    assert "\n" not in str(error.value)


GROWN = [
    ([Node(4)], ["device=cuda"], "no GPU here"),
    ([GPU1], ["gpus=4", "concurrent=5"], "5 trials x 1 worker but only 4 GPUs; use --concurrent 4"),
    ([GPU1] * 4, ["workers=5", "concurrent=1"], "5 workers per trial but only 4 GPUs"),
    ([CPU2], ["threads=4", "concurrent=2"], "4 threads for each worker but only 2 cores on the largest node"),
]


@pytest.mark.parametrize(("nodes", "asked", "message"), GROWN)
def test_what_no_growth_mends(nodes: list[Node], asked: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(space(*asked), nodes, grows=True)


def test_latency_on_a_gpu() -> None:
    on_gpu = load_space("detnet", overrides=["latency.device=cuda"])
    with pytest.raises(InputError, match="no GPU here"):
        make_plan(on_gpu, [Node(4)])
    on_gpu = load_space("detnet", overrides=["latency.device=cuda", "resources.device=cpu"])
    with pytest.raises(InputError, match="no GPU here"):
        make_plan(on_gpu, [Node(4, 1), Node(4)])
    assert make_plan(on_gpu, [Node(4, 1)]) == Plan("cpu", 1, 4, 1)


def test_several_kinds_without_latency() -> None:
    mixed = [Node(8, 1, "A100"), Node(8, 1, "T4")]
    for change in ("latency.device=cpu", "objectives=[{name: ap}, {name: params_m}]"):
        constraints = "constraints=[]"
        plan = make_plan(load_space("detnet", overrides=[change, constraints]), mixed)
        assert plan == Plan("cuda", 1, 2, 8)


def test_every_small_cluster_is_planned_so_that_it_holds() -> None:
    """All combinations of a few nodes, and numbers that are given or not."""
    shapes = [Node(1), Node(3), Node(8), Node(5, 2), Node(2, 4), Node(0)]
    asked = [[], ["workers=2"], ["concurrent=2"], ["threads=2"], ["gpus_per_worker=0.5"]]
    spaces = [space(*more) for more in asked]
    plans = 0
    for first in shapes:
        for second in shapes:
            for wanted in spaces:
                nodes = [first, second]
                try:
                    plan = make_plan(wanted, nodes)
                except InputError:
                    continue
                plans += 1
                assert packed(plan, nodes) == plan.concurrent, (nodes, wanted.resources, plan)
                idle = sum(n.cpus for n in nodes) - math.ceil(plan.workers * plan.concurrent * plan.cores)
                wide = max(n.cpus for n in nodes)
                assert plan.device == "cuda" or idle < max(2, wide) * len(nodes)
    assert plans > 100
