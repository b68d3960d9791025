"""Runs a Python file in which unbraid sees another platform: python other_platform.py win32|darwin FILE ARGUMENT...

Every module of unbraid gets an `os`, `sys`, `signal` and `socket` without the names that the platform lacks, and none of the
modules that it lacks. The libraries that unbraid uses see the real platform, and so do paths: os.sep stays "/". As "win32",
a file that this process has open is neither replaced nor removed, and one that is open for reading only is not synced, as
Windows has it.
"""

import builtins
import errno
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# What CPython's Windows has of what Linux's `os` gets from C, beside exceptions and results.
WINDOWS_OS = """
abort access chdir chmod close closerange cpu_count device_encoding dup dup2 environ error execv execve fspath fstat fsync
ftruncate get_handle_inheritable get_inheritable get_terminal_size getcwd getcwdb getlogin getpid getppid isatty kill link
listdir lseek lstat mkdir open pipe putenv read readlink remove rename replace rmdir scandir set_inheritable stat strerror
symlink system times truncate umask unlink unsetenv urandom utime waitpid waitstatus_to_exitcode write
F_OK R_OK W_OK X_OK O_APPEND O_CREAT O_EXCL O_RDONLY O_RDWR O_TRUNC O_WRONLY EX_OK
DirEntry stat_result terminal_size times_result
""".split()
WINDOWS_SIGNALS = """
SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN NSIG Signals Handlers
signal getsignal default_int_handler raise_signal strsignal valid_signals set_wakeup_fd
""".split()
POSIX_MODULES = "fcntl resource pwd grp termios tty pty syslog readline curses posix spwd crypt nis".split()
# What macOS lacks of Linux.
LINUX_OS = """
sched_getaffinity sched_setaffinity sched_getscheduler sched_setscheduler sched_getparam sched_setparam fdatasync
memfd_create eventfd copy_file_range splice getrandom pidfd_open setns unshare posix_fadvise posix_fallocate getxattr
setxattr listxattr removexattr getresuid getresgid setresuid setresgid preadv2 pipe2 O_PATH O_TMPFILE O_DIRECT O_NOATIME
O_LARGEFILE sysinfo
""".split()


class Without(ModuleType):
    """A module as another platform has it."""

    def __init__(self, module: ModuleType, missing: set[str], **changed: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__.update({"_module": module, "_missing": missing, **changed})

    def __getattr__(self, name: str) -> Any:
        if name in self._missing:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on this platform")
        return getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)


def modules_of(platform: str) -> dict[str, ModuleType | None]:
    """What an import gives to unbraid; None for what the platform does not have."""
    if platform == "darwin":
        return {"os": Without(os, set(LINUX_OS)), "sys": Without(sys, set(), platform=platform)}
    import fcntl
    import posix

    def fsync(handle: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        os.fsync(handle)

    from_c = {name for name in dir(posix) if not name.startswith("_")}
    return {
        "os": Without(
            os, from_c - set(WINDOWS_OS) | {"register_at_fork", "posix_spawn"}, name="nt", fsync=fsync
        ),
        "sys": Without(sys, set(), platform=platform),
        "signal": Without(signal, {name for name in dir(signal) if name[0] != "_"} - set(WINDOWS_SIGNALS)),
        "socket": Without(socket, {"AF_UNIX", "SO_REUSEPORT", "sendmsg", "recvmsg", "send_fds", "recv_fds"}),
        **dict.fromkeys(POSIX_MODULES),
    }


def show(platform: str) -> None:
    """From now on, modules of unbraid see `platform`."""
    given = modules_of(platform)
    usual = builtins.__import__

    def import_(name: str, globals: Any = None, *rest: Any, **named: Any) -> ModuleType:
        if str((globals or {}).get("__name__")).partition(".")[0] == "unbraid" and name in given:
            module = given[name]
            if module is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return module
        return usual(name, globals, *rest, **named)

    builtins.__import__ = import_
    if platform == "win32":
        for name in ("replace", "rename", "remove", "unlink"):
            setattr(os, name, _unless_open(getattr(os, name)))


def _unless_open(change: Any) -> Any:
    def changed(*paths: Any, **options: Any) -> None:
        if not options:  # below a folder's handle, as rmtree does it here
            for path in map(os.path.abspath, map(os.fsdecode, paths)):
                if path in _open_files():
                    raise PermissionError(13, "The process cannot access the file", path)
        change(*paths, **options)

    return changed


def _open_files() -> set[str]:
    found = set()
    for handle in Path("/proc/self/fd").iterdir():
        try:
            found.add(os.readlink(handle))
        except OSError:  # the one that lists them
            pass
    return found


if __name__ == "__main__":
    show(sys.argv[1])
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0])
