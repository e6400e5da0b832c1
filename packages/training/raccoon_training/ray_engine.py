"""Runs the tasks of a sweep on a Ray cluster: `raccoon sweep --engine ray` starts it, in an environment with Ray alone.

Reads one line of JSON from stdin: [{id, after, command, cpus, gpus}, ...]. Writes a line of JSON for everything that
happens: {id, event: "started", host} and {id, event: "ended", code, message}. Ray places a task where processors and
GPUs are free; the command finds itself, the spec and the store at the same paths on every host.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
from typing import Any

import ray

WAIT_SECONDS = 0.2
KEPT = 2000  # characters of what a command said last


def run_command(command: list[str], board: Any, name: str) -> tuple[int, str]:
    """On whatever host: its exit code, and its last line. It ends when this worker does: its stdin is closed then."""
    ray.get(board.start.remote(name, platform.node()))
    done = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr[-KEPT:].splitlines() if line.strip()]
    message = lines[-1] if lines else f"{command[0]} ended with code {done.returncode}"
    return done.returncode, message.removeprefix("raccoon: ")


class Board:
    """What has been started, and where, since the last look."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str]] = []

    def start(self, name: str, host: str) -> None:
        self.news.append((name, host))

    def take(self) -> list[tuple[str, str]]:
        news, self.news = self.news, []
        return news


def tell(name: str, **event: Any) -> None:
    print(json.dumps({"id": name, **event}), flush=True)


def run(tasks: list[dict[str, Any]]) -> None:
    """Submits every task once what it comes after has ended, and tells of all until the last has ended."""
    board = ray.remote(num_cpus=0)(Board).remote()
    waiting, running, ended = list(tasks), {}, set()
    while waiting or running:
        for task in [task for task in waiting if task["after"] is None or task["after"] in ended]:
            waiting.remove(task)
            remote = ray.remote(num_cpus=task["cpus"], num_gpus=task["gpus"], max_retries=1)(run_command)
            running[remote.remote(task["command"], board, task["id"])] = task["id"]
        ready, _ = ray.wait(list(running), timeout=WAIT_SECONDS)
        for name, host in ray.get(board.take.remote()):
            tell(name, event="started", host=host)
        for reference in ready:
            name = running.pop(reference)
            try:
                code, message = ray.get(reference)
            except ray.exceptions.RayError as error:
                code, message = 1, " ".join(str(error).split())
            ended.add(name)
            tell(name, event="ended", code=code, message=message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--address", help="of the cluster's head, or auto; default: this machine alone")
    args = parser.parse_args()
    tasks = json.loads(sys.stdin.readline())
    # whoever started this is gone: Ray ends the tasks of a driver that is
    threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
    try:
        ray.init(address=args.address, include_dashboard=False, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))
    largest = max(task["cpus"] for task in tasks) if tasks else 0
    if largest > ray.cluster_resources().get("CPU", 0):
        sys.exit(f"no host of the cluster has {largest} processors for a trial: lower threads in the spec")
    run(tasks)


if __name__ == "__main__":
    main()
