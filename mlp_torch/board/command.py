"""`mlp board`: TensorBoard on the runs, in this process, so that both end together."""

import logging
import threading
import webbrowser
from pathlib import Path

from tensorboard import default, program
from tensorboard.data import server_ingester
from tensorboard.util import tb_logging

from mlp_torch.board.config import ShowBoard
from mlp_torch.errors import UserError
from mlp_torch.interrupts import released

RELOAD = 5  # seconds after which new epochs are looked for
TOGETHER = "#custom_scalars"  # the tab of train and validation in one chart


def run(config: ShowBoard) -> int:
    """Serve until Ctrl-C; 0. Raises UserError where that cannot be."""
    address = serve(config.runs_dir, config.port)
    print(f"TensorBoard shows {config.runs_dir} at {address}")
    print(f"train and validation in one chart: {address}{TOGETHER}")
    print("Ctrl-C ends it", flush=True)
    if config.open:
        webbrowser.open(address + TOGETHER)
    try:
        with released():
            threading.Event().wait()
    except KeyboardInterrupt:
        print()
    return 0


def serve(runs_dir: Path, port: int | None) -> str:
    """Start TensorBoard in a thread, on the loopback interface; its address. Raises UserError."""
    tb_logging.get_logger().setLevel(logging.ERROR)
    board = program.TensorBoard(plugins=default.get_plugins())
    board.configure(
        logdir=str(runs_dir.resolve()),
        host="127.0.0.1",
        port=port,
        reload_interval=RELOAD,
        samples_per_plugin={"scalars": 10_000, "images": 0, "histograms": 0, "text": 0, "pr_curves": 0},
        load_fast="true" if _fast() else "false",
        window_title=f"{runs_dir.resolve().name} · mlp board",
    )
    try:
        return str(board.launch())
    except program.TensorBoardPortInUseError:
        raise UserError(
            f"--port {port}: is taken; choose another, or leave it out for one that is free"
        ) from None
    except program.TensorBoardServerException as error:
        raise UserError(f"--port {port}: TensorBoard cannot listen there ({error.msg})") from None


def _fast() -> bool:
    """Whether TensorBoard's own quick reader is there, which it has for common systems only."""
    try:
        server_ingester.get_server_binary()
    except server_ingester.NoDataServerError:
        return False
    return True
