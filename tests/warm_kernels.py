"""Kernels for `make test` that have made their imports: a pytest plugin for nbval (``-p warm_kernels``).

Starting Python and importing the packages takes longer than many a chapter. One process for each worker does it once;
the kernel of a chapter is a fork of it, so it has its own memory, and names no module that its own cells do not import.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

IMPORTS = ["ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "ipykernel.pylab.backend_inline"]
IMPORTS += ["ipywidgets", "matplotlib.pyplot", "scipy.optimize", "scipy.stats", "seaborn"]
IMPORTS += ["coevo.evidence", "coevo.film", "coevo.explore", "coevo.network", "coevo.simulation", "coevo.theory"]


class ForkedKernel:
    """As much of subprocess.Popen as a provisioner uses; the parent of the process is `Forks`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    wait = poll

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)


class Forks(LocalProvisioner):
    """Forks a kernel from the warm process, which is started for the first one."""

    warm: subprocess.Popen[str] | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        if Forks.warm is None:
            pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            Forks.warm = subprocess.Popen([sys.executable, __file__], text=True, **pipe, env=kwargs["env"])
        asked, told = Forks.warm.stdin, Forks.warm.stdout
        assert asked is not None
        assert told is not None
        wanted = {"arguments": cmd[cmd.index("-f") :], "folder": kwargs["cwd"], "env": kwargs["env"]}
        print(json.dumps(wanted), file=asked, flush=True)
        self.pid = self.pgid = int(told.readline())
        self.process = ForkedKernel(self.pid)
        return self.connection_info


def pytest_configure() -> None:
    entry = EntryPoint("forks", "warm_kernels:Forks", KernelProvisionerFactory.GROUP_NAME)
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[entry.name] = entry
    factory.default_provisioner_name = entry.name


def pytest_unconfigure() -> None:
    if Forks.warm is not None:
        Forks.warm.communicate()


def become_kernel(arguments: list[str], folder: str, env: dict[str, str]) -> None:
    """What ``python -m ipykernel_launcher`` does, in a new session, with nothing on its streams."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.chdir(folder)
    os.environ.update(env)
    # The kernel ends itself when its parent, the warm process, has ended.
    import_module("ipykernel.kernelapp").launch_new_instance(
        [*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"]
    )


def main() -> None:
    """Import, then fork a kernel for every line of the standard input and tell its number."""
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as a kernel would
    for name in IMPORTS:
        with suppress(ImportError):  # told by the chapter that needs it
            import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a kernel that has ended
    gc.freeze()
    for line in sys.stdin:
        if not (pid := os.fork()):
            become_kernel(**json.loads(line))
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path = [folder for folder in sys.path if os.path.abspath(folder) != here]
    main()
