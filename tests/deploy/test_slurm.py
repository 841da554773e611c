"""`deploy/slurm.sbatch` with stand-ins for what Slurm and Ray bring, and once with a real Ray."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

STAND_INS = {
    "scontrol": """
        echo "scontrol $*" >> $CALLS
        [[ $1 == show ]] && printf '%s\\n' ${3//,/ }
        exit 0""",
    "srun": """
        echo "srun $*" >> $CALLS
        while [[ $1 == --* ]]; do shift; done
        exec "$@" """,
    "ray": """
        if [[ $1 == start ]]; then
            echo "ray $*" >> $CALLS
            [[ -n $WORKERS_DIE && $* != *--head* ]] && exit 1
            exec sleep 60
        fi
        exit 0""",
    "python": """
        until (($(grep -c '^ray start' $CALLS) >= $3)); do sleep 0.02; done
        exit ${RAY_FAILS:-0}""",
    "nasdet": """
        echo "nasdet $*" >> $CALLS
        trap 'echo interrupted >> $CALLS; kill $!; exit 130' INT
        [[ -n $CODE ]] && exit $CODE
        sleep 30 & wait""",
}


class Job:
    """One start of the script, as Slurm would make it."""

    def __init__(self, folder: Path, script: Path, nodes: str = "n1,n2,n3", **environment: str) -> None:
        self.calls = folder / "calls"
        self.calls.touch()
        programs = folder / "bin"
        programs.mkdir(exist_ok=True)
        for name, body in STAND_INS.items():
            if not (programs / name).exists():
                (programs / name).write_text("#!/bin/bash" + body)
                (programs / name).chmod(0o755 | stat.S_IXUSR)
        path = f"{programs}:{os.environ['PATH']}"
        given = {"SHARED": f"{folder}/shared", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": nodes, "HEAD_IP": "127.0.0.1"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "NASDET_"))}
        self.process = subprocess.Popen(
            ["bash", script],
            env={**kept, "PATH": path, "CALLS": str(self.calls), **given, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def end(self, seconds: float = 20) -> tuple[int, str, list[str]]:
        """(exit code, what was printed, the commands that the script ran)."""
        try:
            printed, _ = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        return self.process.returncode, printed, self.calls.read_text().splitlines()

    def wait_for(self, call: str) -> None:
        """Until a command that starts so was run."""
        end = time.monotonic() + 20
        while not any(line.startswith(call) for line in self.calls.read_text().splitlines()):
            assert time.monotonic() < end, self.calls.read_text()
            time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path, repository: Path) -> Callable[..., Job]:
    def job(**options: str) -> Job:
        return Job(tmp_path, repository / "deploy" / "slurm.sbatch", **options)

    return job


def requeued(calls: list[str]) -> bool:
    return "scontrol requeue 7" in calls


def test_the_script_is_sound(repository: Path) -> None:
    script = repository / "deploy" / "slurm.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_one_ray_on_each_node_and_the_search_once(start: Callable[..., Job]) -> None:
    code, printed, calls = start(CODE="0").end()
    assert code == 0, printed
    started = [line for line in calls if line.startswith("ray start")]
    assert sum("--head" in line for line in started) == 1
    assert sum("--address=127.0.0.1:20007" in line for line in started) == 2
    assert all("--block" in line and "--temp-dir=/tmp/ray-7" in line for line in started)
    on = [line.split("--nodelist=")[1].split()[0] for line in calls if line.startswith("srun")]
    assert sorted(on) == ["n1", "n2", "n3"]
    (search,) = [line for line in calls if line.startswith("nasdet")]
    assert "--or-resume" in search and "--address 127.0.0.1:20007" in search
    assert not requeued(calls)


@pytest.mark.parametrize(("code", "again"), [("1", True), ("137", True), ("2", False)])
def test_a_search_that_fails_is_started_again_unless_the_user_must_mend_it(
    start: Callable[..., Job], code: str, again: bool
) -> None:
    ended, _, calls = start(CODE=code).end()
    assert requeued(calls) is again
    assert ended == (0 if again else 2)


def test_starts_are_counted(start: Callable[..., Job]) -> None:
    code, printed, calls = start(CODE="1", SLURM_RESTART_COUNT="20").end()
    assert code == 1 and "not once more" in printed and not requeued(calls)


def test_ray_that_does_not_start(start: Callable[..., Job]) -> None:
    code, printed, calls = start(RAY_FAILS="1").end()
    assert code == 0 and requeued(calls) and "Ray did not start" in printed
    assert not any(line.startswith("nasdet") for line in calls)


def test_a_node_whose_ray_dies_is_tried_again(start: Callable[..., Job]) -> None:
    job = start(nodes="n1,n2", WORKERS_DIE="1", PAUSE="0.02")
    end = time.monotonic() + 20
    while job.calls.read_text().count("\nray start --address") < 5:
        assert time.monotonic() < end
        time.sleep(0.02)
    job.wait_for("nasdet search")
    job.process.send_signal(signal.SIGTERM)
    _, _, calls = job.end()
    assert sum(line.startswith("ray start --address") for line in calls) == 5


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_the_search_ends_as_by_ctrl_c_before_the_job_does(
    start: Callable[..., Job], number: signal.Signals, again: bool
) -> None:
    """USR1 comes before the job's time limit; after a SIGTERM Slurm itself puts the job back."""
    job = start()
    job.wait_for("nasdet search")
    job.process.send_signal(number)
    code, printed, calls = job.end()
    assert "interrupted" in calls and requeued(calls) is again
    assert code == (0 if again else 130), printed


@pytest.mark.ray
@pytest.mark.slow
def test_on_a_real_ray(start: Callable[..., Job], tmp_path: Path) -> None:
    """Two nodes on this machine, which the search's process sees; nothing is left running."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ray").write_text(f'#!/bin/bash\nexec "{sys.executable}" -m ray.scripts.scripts "$@"\n')
    (programs / "python").write_text(f'#!/bin/bash\nexec "{sys.executable}" "$@"\n')
    (programs / "nasdet").write_text(f"#!{sys.executable}\n{SEARCH}")
    for program in programs.iterdir():
        program.chmod(0o755)
    temporary = Path(f"/tmp/nd{os.getpid()}")  # short: Ray's sockets lie there
    try:
        job = start(nodes="n1,n2", CPUS="1", RAY_TMP=str(temporary), PORT=str(free_port()))
        code, printed, calls = job.end(120)
        assert code == 0, printed
        assert "2 of 2 nodes are up" in printed and "search sees 2 CPUs" in printed
        assert not requeued(calls)
        assert not processes_with(str(temporary))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


SEARCH = """
import sys, ray
ray.init(sys.argv[sys.argv.index("--address") + 1], log_to_driver=False, configure_logging=False)
print("search sees", int(ray.cluster_resources()["CPU"]), "CPUs")
"""


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes_with(text: str) -> list[str]:
    """Command lines of this machine that contain a text, after at most 15 seconds of waiting for their end."""
    end = time.monotonic() + 15
    while True:
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                found.append(line)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)
