"""`mlp board`: TensorBoard on the runs, in this process, so that both end together."""

import json
import logging
import threading
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tensorboard import default, program
from tensorboard.data import server_ingester
from tensorboard.util import tb_logging

from mlp_torch.board.config import HOST, ShowBoard
from mlp_torch.errors import UserError
from mlp_torch.interrupts import released

RELOAD = 5  # seconds after which new epochs are looked for
SAMPLES = {"scalars": 10_000} | dict.fromkeys(("images", "histograms", "text", "pr_curves"), 1000)
TOGETHER = "#custom_scalars"  # the tab of train and validation in one chart
FIRST = ("loss/train", "loss/validation")


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
    board = program.TensorBoard(plugins=default.get_plugins(), server_class=_server)
    board.configure(
        logdir=str(runs_dir.resolve()),
        host=HOST,
        port=port,
        reload_interval=RELOAD,
        samples_per_plugin=SAMPLES,
        load_fast="true" if _fast() else "false",
        window_title=f"{runs_dir.resolve().name} · mlp board",
    )
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise UserError(f"TensorBoard cannot listen: {error.msg}; choose another --port") from None


def _server(app: Any, flags: Any) -> Any:
    """TensorBoard's own, which shows the loss first: tags are sorted, but for cards that are pinned."""
    cards = [{"plugin": "scalars", "tag": tag} for tag in FIRST]
    pinned = "/?" + urlencode({"pinnedCards": json.dumps(cards, separators=(",", ":"))})

    def answer(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/" or environ.get("QUERY_STRING"):
            return app(environ, start_response)
        start_response("302 Found", [("Location", pinned), ("Content-Length", "0")])
        return [b""]

    return program.create_port_scanning_werkzeug_server(answer, flags)


def _fast() -> bool:
    """Whether TensorBoard's own quick reader is there, which it has for common systems only."""
    try:
        server_ingester.get_server_binary()
    except server_ingester.NoDataServerError:
        return False
    return True
