"""The flags of `mlp board`."""

import errno
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mlp_torch.errors import UserError
from mlp_torch.flags import require

HOST = "127.0.0.1"  # nobody else's machine sees the runs


@dataclass(frozen=True, kw_only=True)
class ShowBoard:
    """Show runs in TensorBoard, on this machine alone, until Ctrl-C."""

    runs_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUNS_DIR")] = Path("runs")
    """Where the runs lie: a folder of them, a sweep's folder, or one run."""
    port: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Where it listens; if not given, 6006 or the next port that is free."""
    open: bool = False
    """Open it in the browser."""

    def check(self) -> None:
        """Raise UserError, one line that names the flag, for a value that cannot be."""
        folder = self.runs_dir
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "there is no such folder"
            raise UserError(f"{folder}: {what}; give the folder of the runs, as in `mlp board runs`")
        if next(folder.rglob("events.out.tfevents.*"), None) is None:
            raise UserError(f"{folder}: holds no runs; `mlp train --runs-dir {folder}` makes one")
        if self.port is not None:
            require(1 <= self.port <= 65535, "--port", self.port, "must lie in 1 … 65535")
            self._bind(self.port)

    def _bind(self, port: int) -> None:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HOST, port))
            except OSError as error:
                why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
                raise UserError(
                    f"--port {port}: {why}; choose another, or leave it out for one that is free"
                ) from None
