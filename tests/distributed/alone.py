"""`python -m tests.distributed.alone 2 script.py`: starts ranks as torchrun does, but leaves the others alone when one dies."""

import os
import socket
import subprocess
import sys


def main(ranks: int, script: str) -> int:
    """Start them, wait for all of them; how many failed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    processes = [
        subprocess.Popen([sys.executable, script], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(ranks)
    ]
    return sum(process.wait() != 0 for process in processes)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
