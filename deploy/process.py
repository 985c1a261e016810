"""Child processes that end with their parent, and state folders locked by their owner."""

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, NoReturn, Optional

from packages import Missing, say

STOP_SECONDS_MAX = 15
KILL_SECONDS_MAX = 5
POLL_SECONDS = 0.1
TAIL_LINES = 15
TAIL_BYTES_MAX = 64 * 1024

PR_SET_PDEATHSIG = 1


def death_signal_setter() -> Optional[Callable[..., int]]:
    """Linux' prctl; other systems have nothing like it and go without."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(None, use_errno=True).prctl
    return None


PRCTL = death_signal_setter()
HAD_TERMINAL = sys.stdin is not None and sys.stdin.isatty()


class Stopped(BaseException):
    """The operator requested the end: Ctrl-C, SIGTERM, or a closed terminal."""


class Died(Exception):
    """A child ended unexpectedly."""

    def __init__(self, child: "Child") -> None:
        super().__init__(child.name)
        self.child = child


class TimedOut(Exception):
    """Something did not happen in time."""


class Child:
    """A running process and where it logs to."""

    def __init__(self, name: str, popen: "subprocess.Popen[bytes]", log: Optional[Path]) -> None:
        self.name = name
        self.popen = popen
        self.log = log

    def alive(self) -> bool:
        """Whether it is running."""
        return self.popen.poll() is None

    def ending(self) -> str:
        """Describes how it ended."""
        code = self.popen.poll()
        if code is None:
            return "still runs"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with status {code}"


class Children:
    """The processes this one has started, stopped in reverse order."""

    def __init__(self, pid_dir: Path) -> None:
        self.pid_dir = pid_dir
        self.children: List[Child] = []
        self.in_a_hurry = False

    def start(
        self,
        name: str,
        argv: List[str],
        env: Dict[str, str],
        log: Optional[Path] = None,
        cwd: Optional[Path] = None,
        stdout: Optional[int] = None,
        stderr: Optional[int] = None,
    ) -> Child:
        """Starts a process, in its own session: a terminal's Ctrl-C reaches only this process."""
        parent = os.getpid()
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(log.open("ab")) if log else None
            popen = subprocess.Popen(
                argv,
                env=child_env(env),
                cwd=str(cwd) if cwd else None,
                stdin=subprocess.DEVNULL,
                stdout=file or stdout,
                stderr=subprocess.STDOUT if file else stderr,
                start_new_session=True,
                preexec_fn=lambda: set_up_child(parent),
            )
        child = Child(name, popen, log)
        self.children.append(child)
        write_pid(self.pid_file(name), popen.pid)
        return child

    def pid_file(self, name: str) -> Path:
        """The file with a child's pid, by which the next run stops leftovers."""
        return self.pid_dir / (name + ".pid")

    def watch(self, except_for: Optional[Child] = None) -> None:
        """Raises if a child ended, or the terminal has gone."""
        if terminal_closed():
            raise Stopped()
        for child in self.children:
            if child is not except_for and not child.alive():
                raise Died(child)

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Waits for a condition, at most so long; raises if a child ends."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.watch()
            if time.monotonic() > deadline:
                raise TimedOut(f"{what} within {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def wait_for_end(self, child: Child) -> int:
        """Waits for a child that ends by itself, while the others live; returns its status."""
        while child.alive():
            self.watch(except_for=child)
            time.sleep(POLL_SECONDS)
        self.forget(child)
        return child.popen.returncode

    def stop(self, child: Child) -> None:
        """Stops and forgets a child: SIGTERM, a bounded wait, SIGKILL."""
        deadline = time.monotonic() + STOP_SECONDS_MAX
        signal_group(child.popen.pid, signal.SIGTERM)
        signal_group(child.popen.pid, signal.SIGCONT)  # a stopped process handles no signal
        while child.alive() and time.monotonic() < deadline and not self.in_a_hurry:
            time.sleep(POLL_SECONDS)
        signal_group(child.popen.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.popen.wait(KILL_SECONDS_MAX)
        self.forget(child)

    def forget(self, child: Child) -> None:
        """No longer watches a child."""
        self.children.remove(child)
        with contextlib.suppress(FileNotFoundError):
            self.pid_file(child.name).unlink()

    def stop_all(self) -> None:
        """Ends all of them, the last started first."""
        while self.children:
            self.stop(self.children[-1])


def set_up_child(parent: int) -> None:
    """Runs in the child before its program does."""
    raise_file_limit()
    if PRCTL:
        PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the signal was set up
            os._exit(1)


def raise_file_limit() -> None:
    """Lifts the soft limit of open files to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def child_env(env: Dict[str, str]) -> Dict[str, str]:
    """Our environment with additions, less what is meant for these scripts alone."""
    merged = dict(os.environ, **env)
    merged.pop("HOLDFAST_PACKAGES_DIR", None)
    return merged


def signal_group(pid: int, signum: int) -> None:
    """Signals a child and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def on_signals(handler: Callable[[int], None]) -> None:
    """Calls `handler` for each signal that requests the end."""

    def handle(signum: int, _frame: object) -> None:
        handler(signum)

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    # `nohup` ignores SIGHUP on purpose: leave that as it is.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)


def stop_on_signals(children: Children) -> None:
    """The first signal raises Stopped; a second Ctrl-C kills the children without waiting."""
    seen: List[int] = []

    def handler(signum: int) -> None:
        seen.append(signum)
        if len(seen) == 1:
            raise Stopped()
        if signum == signal.SIGINT:
            children.in_a_hurry = True

    on_signals(handler)


def terminal_closed() -> bool:
    """Whether the terminal we were started from is gone.

    The kernel sends SIGHUP to the session's leader only. A shell forwards it; `make`, which leads the
    session under `ssh -t HOST make run`, does not, and waits for its child.
    """
    if not HAD_TERMINAL or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return False
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def tail(path: Path, count: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES_MAX))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "    (no log)"
    return "\n".join("    " + line for line in lines[-count:]) or "    (the log is empty)"


def end_report(child: Child) -> str:
    """What happened to a child, with the end of its log."""
    text = f"{child.name} {child.ending()}."
    return text if child.log is None else f"{text} Its log, {child.log}, ends:\n{tail(child.log)}"


def shown(path: Path) -> str:
    """A path as short as it can be said."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


# -- State folders ---------------------------------------------------------------------------


class Instance:
    """A state folder locked by this process. The kernel releases the lock when it ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "instance.lock").open("a+")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse_second_instance(self.file.name)
        self.file.truncate(0)
        self.file.write(str(os.getpid()))
        self.file.flush()


def holder(folder: Path) -> Optional[str]:
    """The process that holds a state folder, if one does."""
    lock = folder / "instance.lock"
    if not lock.exists():
        return None
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "unknown"
    return None


def refuse_second_instance(lock: str) -> NoReturn:
    """Names the process that holds the folder."""
    pid = Path(lock).read_text().strip() or "unknown"
    raise Missing(
        f"Holdfast already runs from {Path(lock).parent} (process {pid})",
        f"use the one that runs, or stop it: kill {pid}",
    )


def process_birth(pid: int) -> Optional[str]:
    """A process' start time, which with its pid identifies it; None if it has ended."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], stdout=subprocess.PIPE)
    return shown.stdout.decode().strip() or None


def write_pid(path: Path, pid: int) -> None:
    """Writes a child's identity: the pid alone may later belong to another process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{pid} {process_birth(pid)}\n")


def stop_leftovers(pid_dir: Path) -> None:
    """Ends the children of a dead run. Stale pid files are removed. The caller is the Instance."""
    for path in sorted(pid_dir.glob("*.pid")):
        pid, _, birth = path.read_text().strip().partition(" ")
        if pid.isdigit() and birth and process_birth(int(pid)) == birth:
            say(f"Ending {path.stem} (process {pid}), left over from a run that died ...")
            end_process(int(pid), birth)
        path.unlink()


def end_process(pid: int, birth: str) -> None:
    """Ends a process that is not a child of this one: SIGTERM, a bounded wait, SIGKILL."""
    for signum, seconds in ((signal.SIGTERM, STOP_SECONDS_MAX), (signal.SIGKILL, KILL_SECONDS_MAX)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
            os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + seconds
        while process_birth(pid) == birth and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
