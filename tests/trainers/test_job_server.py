"""The connections of groups to the driver, over real sockets."""

from __future__ import annotations

import dataclasses
import threading
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client, Listener

import pytest

from nasdet.trainers.driver_link import ALONE, GO, PAUSE, STOP, DriverLink
from nasdet.trainers.job_server import Event, JobServer, send
from nasdet.trainers.messages import Reply


@pytest.fixture
def server():
    server = JobServer("127.0.0.1")
    yield server
    server.close()


def receive(server: JobServer) -> Event:
    event = server.receive(5.0)
    assert event is not None
    return event


def test_replies_come_with_group_and_rank_and_jobs_go_back(server: JobServer) -> None:
    link = DriverLink(server.ticket("g").connect(0))
    link.send(Reply("up", host="here"))
    event = receive(server)
    assert (event.group, event.rank, event.reply) == ("g", 0, Reply("up", host="here"))
    send(event.connection, "job")
    assert link.next_job() == "job"
    other = server.ticket("g").connect(1)
    other.send(Reply("failed", "t1"))
    assert receive(server).rank == 1
    other.close()
    link._connection.close()
    assert receive(server).reply is None  # of rank 0 alone
    assert server.receive(0.2) is None
    send(event.connection, "lost")  # raises nothing


def test_nothing_is_unpickled_of_a_peer_without_the_key(server: JobServer) -> None:
    ticket = dataclasses.replace(server.ticket("g"), key=b"wrong")
    with pytest.raises((AuthenticationError, EOFError, ConnectionError)):
        ticket.connect(0)
    silent = Client(server.ticket("g").address)  # a peer that hangs in the handshake
    DriverLink(server.ticket("h").connect(0)).send(Reply("up"))
    assert receive(server).group == "h"
    silent.close()
    assert receive(server).reply is None  # h's, closed by its end
    assert server.receive(0.2) is None


def test_a_worker_does_not_trust_a_server_that_sends_its_own_challenge_back() -> None:
    listener = Listener(("127.0.0.1", 0))

    def mirror() -> None:
        with listener.accept() as connection:
            challenge = connection.recv_bytes(32)
            connection.send_bytes(challenge)
            connection.send_bytes(connection.recv_bytes())

    thread = threading.Thread(target=mirror, daemon=True)
    thread.start()
    ticket = dataclasses.replace(JobServer("127.0.0.1").ticket("g"), address=listener.address)
    with pytest.raises(AuthenticationError):
        ticket.connect(0)
    thread.join(5)
    listener.close()


def test_a_worker_rests_between_steps_until_it_may_go_on(server: JobServer) -> None:
    link = DriverLink(server.ticket("g").connect(0))
    link.step()
    event = receive(server)
    assert event.reply == Reply("alive")
    link.step()
    assert server.receive(0.2) is None  # not at every step
    send(event.connection, PAUSE)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (link._connection.poll(5), link.step(), done.set()))
    thread.start()
    assert receive(server).reply == Reply("paused")
    assert not done.wait(0.2)
    send(event.connection, GO)
    assert done.wait(5)
    thread.join()


def test_a_measurement_waits_until_it_is_alone(server: JobServer) -> None:
    link, order = DriverLink(server.ticket("g").connect(0)), list[str]()

    def measure() -> None:
        with link.alone(60.0):
            order.append("measured")

    thread = threading.Thread(target=measure)
    thread.start()
    event = receive(server)
    assert event.reply == Reply("wants_quiet") and not order
    send(event.connection, PAUSE)  # asked by another group that waits too
    send(event.connection, ALONE)
    assert receive(server).reply == Reply("alive", seconds=60.0)
    assert receive(server).reply == Reply("measured") and order == ["measured"]
    thread.join()


def test_requests_that_crossed_the_end_of_a_job_are_passed_over(server: JobServer) -> None:
    link = DriverLink(server.ticket("g").connect(0))
    link.send(Reply("rung", "t1"))
    connection = receive(server).connection
    for message in (PAUSE, GO, "next"):
        send(connection, message)
    assert link.next_job() == "next"


def test_a_worker_stops_when_the_driver_has_ended() -> None:
    own, other = Pipe()
    link = DriverLink(own)
    other.close()
    assert link.next_job() == STOP
