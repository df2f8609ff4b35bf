"""The program of every execution environment: AWS's runtime client, which ends with the sandbox."""

import os
import sys
import threading

from awslambdaric.__main__ import main


def _end_with_the_sandbox() -> None:
    # Standard input is a pipe that the kernel closes when the sandbox's process ends, even if it is killed.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_sandbox, daemon=True).start()
    main(sys.argv)
