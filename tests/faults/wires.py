"""A wire between two hosts of this machine, network namespaces, that can be slow, cut or mended.

    python -m tests.faults.wires A B     reads a word a line: delay SECONDS, cut, mend

Each end is a tun device in its namespace, 10.77.0.1 and 10.77.0.2; the packets go through this process.
"""

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Self

from tests.forked import ROOT

CLONE_NEWNET, TUNSETIFF, TUN_WITHOUT_HEADER = 0x40000000, 0x400454CA, 0x1001
DEVICE = "wire"


def possible() -> bool:
    """Whether this machine lets us make hosts and wires: it is tried."""
    tools = all(shutil.which(tool) for tool in ("ip", "ss"))
    if os.name != "posix" or os.geteuid() != 0 or not Path("/dev/net/tun").exists() or not tools:
        return False
    host = f"mlp{os.getpid()}x"
    made = subprocess.run(["ip", "netns", "add", host], capture_output=True).returncode == 0
    return subprocess.run(["ip", "netns", "del", host], capture_output=True).returncode == 0 and made


class Wire:
    """Two hosts; `at(i)` is what a command begins with that runs on one."""

    def __init__(self) -> None:
        self.hosts = [f"mlp{os.getpid()}{end}" for end in "ab"]

    def __enter__(self) -> Self:
        for host in self.hosts:
            subprocess.run(["ip", "netns", "add", host], check=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.wires", *self.hosts],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        for i, host in enumerate(self.hosts):
            for line in (
                f"addr add 10.77.0.{i + 1}/24 dev {DEVICE}",
                f"link set {DEVICE} up",
                "link set lo up",
            ):
                subprocess.run(["ip", "-n", host, *line.split()], check=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate(timeout=10)  # closes its input, which ends it
        for host in self.hosts:
            subprocess.run(["ip", "netns", "del", host], check=True)

    def at(self, host: int) -> list[str]:
        return ["ip", "netns", "exec", self.hosts[host]]

    def say(self, words: str) -> None:
        """delay SECONDS, cut, or mend."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()

    def reset(self, but: int) -> None:
        """Every connection between the two ends with a reset, but those to a port of the first host."""
        words = f"ss -K dst 10.77.0.2 sport != :{but}"
        subprocess.run([*self.at(0), *words.split()], check=True, capture_output=True)


def _device(host: str) -> int:
    """A tun device in that namespace, open here."""
    library = ctypes.CDLL(None, use_errno=True)
    space = os.open(f"/var/run/netns/{host}", os.O_RDONLY)
    if library.setns(space, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(space)
    found = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(found, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), TUN_WITHOUT_HEADER))
    return found


def carry(hosts: list[str]) -> None:
    """Every packet to the other end, after the delay; none while the wire is cut."""
    ends = [_device(host) for host in hosts]
    print("ready", flush=True)
    delay, cut = 0.0, False
    under_way: deque[tuple[float, int, bytes]] = deque()
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        ready, _, _ = select.select([*ends, sys.stdin], [], [], wait)
        now = time.monotonic()
        if sys.stdin in ready:
            words = sys.stdin.readline().split()
            if not words:
                return
            delay = float(words[1]) if words[0] == "delay" else delay
            cut = {"cut": True, "mend": False}.get(words[0], cut)
        for i, end in enumerate(ends):
            if end in ready:
                packet = os.read(end, 2**16)
                if not cut:
                    under_way.append((now + delay, ends[1 - i], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, end, packet = under_way.popleft()
            with contextlib.suppress(OSError):  # the other end is not up, or its buffer full
                os.write(end, packet)


if __name__ == "__main__":
    carry(sys.argv[1:])
