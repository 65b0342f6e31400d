# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stages: what the lab is doing, said as it starts, with its time when it ends."""
import contextlib
import os
import sys
import threading
import time
from typing import Iterator

TTY = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
_started = time.monotonic()


class LabError(Exception):
    """Something the user must hear in one line; a traceback would not help."""


def elapsed() -> float:
    return time.monotonic() - _started


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Stage:
    """One line on the terminal: the title, a running clock and a note; without a terminal only start and end."""

    def __init__(self, title: str):
        self.title = title
        self.note_text = ""
        self.begin = time.monotonic()
        self.over = threading.Event()

    def note(self, text: str) -> None:
        self.note_text = text.strip().replace("\t", " ")

    def ticker(self) -> None:
        while not self.over.wait(0.5):
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            line = f"  … {self.title} {time.monotonic() - self.begin:.0f} s  {self.note_text}"
            sys.stderr.write("\r\033[K" + line[:columns - 1])
            sys.stderr.flush()

    def finish(self, mark: str) -> None:
        line = f"{mark} {self.title}: {time.monotonic() - self.begin:.1f} s"
        say(("\r\033[K" if TTY else "") + line)


@contextlib.contextmanager
def stage(title: str) -> Iterator[Stage]:
    s = Stage(title)
    thread = None
    if TTY:
        thread = threading.Thread(target=s.ticker, daemon=True)
        thread.start()
    else:
        say(f"  … {title}")
    mark = "  ✗"
    try:
        yield s
        mark = "  ✓"
    finally:
        s.over.set()
        if thread:
            thread.join()
        s.finish(mark)
