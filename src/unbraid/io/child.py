"""A program in a process of its own that answers requests: what it reads may crash it, fill memory or never end.

The program is a file with a function `reply(request, content)`; this file runs it: python -P child.py PROGRAM.py. Both
sides send one line of JSON, whose "bytes" says how many bytes of content follow. No program needs to import unbraid.

A request may take so many seconds of the processor: on a busy machine the clock says little. Where the system cannot count
those (Windows), and for a program that waits for something, the clock counts, with WAIT times as many. The program's memory
is limited where the system can do that.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self

WAIT = 10
MEMORY_BYTES = 2 * 1024**3

Message = tuple[dict[str, Any], bytes]  # Any: whatever JSON can say


class Child:
    """The asking side. The program starts with the first request, and again after it has ended."""

    def __init__(self, program: Path) -> None:
        """Ask the program in the file `program`."""
        self._command = [sys.executable, "-P", __file__, str(program)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """The child itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the program."""
        self.close()

    def ask(self, request: Mapping[str, Any], content: bytes = b"", *, seconds: float) -> Message:
        """The program's answer to `request` and `content`.

        Raises TimeoutError after `seconds` of the processor, EOFError when the program died; it has ended then, and
        the next request starts it anew.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process, which then ends the program
            )
        process, late = self._process, threading.Event()
        assert process.stdin and process.stdout

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(WAIT * seconds, end)
        timer.start()
        try:
            _send(process.stdin, {**request, "seconds": seconds}, content)
            answer = _receive(process.stdout)
        except (OSError, ValueError, EOFError):  # it has gone, half way through a line perhaps
            answer = None
        except BaseException:  # Ctrl-C: what it goes on to say belongs to no later request
            self.close()
            raise
        finally:
            timer.cancel()
        if answer is None:
            try:
                process.wait(1)  # of one that ends by itself, to see from what
            except subprocess.TimeoutExpired:
                pass
            self.close()
            if late.is_set() or process.returncode == -getattr(signal, "SIGPROF", 0):
                raise TimeoutError(f"it takes over {seconds:.0f} seconds")
            raise EOFError("its reader died")
        return answer

    def close(self) -> None:
        """End the program; a second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            try:
                if stream:
                    stream.close()
            except OSError:  # what was not sent yet
                pass


def _send(stream: IO[bytes], about: Mapping[str, Any], content: bytes) -> None:
    stream.write(json.dumps({**about, "bytes": len(content)}).encode() + b"\n")
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> Message | None:
    """The next message; None at the end of the stream."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    about = json.loads(line)
    content = stream.read(size := about.pop("bytes"))
    return (about, content) if len(content) == size else None


def main(program: str) -> None:
    """Answer the requests on standard input on standard output, until there are no more."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):  # Windows, or a lower limit already
        pass
    import runpy  # not needed where this file is imported

    reply: Callable[[dict[str, Any], bytes], Message] = runpy.run_path(program)["reply"]
    output = sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not spoil an answer
    while (asked := _receive(sys.stdin.buffer)) is not None:
        request, content = asked
        _limit(request.pop("seconds"))
        answer = reply(request, content)
        _limit(0)
        _send(output, *answer)


def _limit(seconds: float) -> None:
    """Let the system end this process after so many seconds of the processor; 0 takes that back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main(sys.argv[1])
