from __future__ import annotations

import _thread
import subprocess
import sys
import threading
import time

import pytest

from nasdet.driver.ray_thread import RayThread, end_ray_threads


def test_a_thread_is_ended_after_its_own_clean_up_and_a_further_ctrl_c_is_passed_over() -> None:
    entered, cleaned = threading.Event(), []

    def work() -> None:
        try:
            entered.set()
            while True:
                time.sleep(0.01)
        finally:
            _thread.interrupt_main()
            time.sleep(0.3)
            cleaned.append(True)

    thread = RayThread(target=work)
    thread.start()
    assert entered.wait(5)
    end_ray_threads()
    assert cleaned == [True]


CALLS = """
import threading
from nasdet.driver.ray_cluster import ray_cluster
from nasdet.driver.ray_thread import RayThread

with ray_cluster():
    import ray
    entered = threading.Event()

    def work():
        try:
            while True:
                ray.wait([ray.put(1)], timeout=0.1)
                entered.set()
        finally:
            print("the thread has ended, Ray is up:", ray.is_initialized(), flush=True)

    RayThread(target=work).start()
    assert entered.wait(60)
print("Ray is up:", ray.is_initialized())
"""


@pytest.mark.ray
def test_a_thread_ends_before_ray_does() -> None:
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-2:] == ["the thread has ended, Ray is up: True", "Ray is up: False"]
