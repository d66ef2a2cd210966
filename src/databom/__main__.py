"""The `databom` command, also as `python -m databom`.

Python's own exit code for an exception that nobody catches is 1, which is our "no": so whatever fails from here on is
caught here. What fails before, in the interpreter's own start or in finding this file, is Python's to answer, with 1.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys

TYPE_CHECKING = False  # `typing` may be more than there is memory for
if TYPE_CHECKING:
    from typing import NoReturn


def program() -> None:
    """`main`, for a process that is nothing else: its end does not take apart what the kernel drops at once.

    Python frees every object one by one, which took a tenth of a short run. Where another thread lives, or somebody
    traces or profiles, it is left to.
    """
    try:
        main()
    except SystemExit as stop:
        threading = sys.modules.get("threading")
        alone = threading is None or threading.active_count() == 1
        if not alone or type(stop.code) is not int or sys.gettrace() or sys.getprofile():
            raise
        try:
            atexit._run_exitfuncs()  # noqa: SLF001  # what `sys.exit` would run, in its order
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(stop.code)  # the answer was written before; nothing that fails now may change it


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        # What a command makes lives to its end, from the modules to the million assets of a release. Looking for
        # garbage among it finds none, and took a fifth of a short run.
        gc.set_threshold(100_000, 20, 100)
        from databom.cli import main as run
    except Exception as error:  # noqa: BLE001  # a broken installation, or no memory: no verdict
        # Nothing was asked yet, so no secret is in it.
        sys.excepthook(type(error), error, error.__traceback__)
        _leave(error)
    try:
        run()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  # what befell the command line while it was telling of an error
        _leave(error)
    finally:
        gc.freeze()  # the interpreter looks once more on its way out


def _leave(error: BaseException) -> NoReturn:
    """Exit with 3, *could not answer*, with no more memory than there may be left."""
    try:
        os.write(2, b"databom: could not answer: ")
        os.write(2, f"{type(error).__name__}\n".encode())  # not its text: it may hold a secret
    finally:
        os._exit(3)


if __name__ == "__main__":
    program()
