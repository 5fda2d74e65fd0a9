"""Candidates in processes of their own, told to run in turn: neither their memory nor their threads mix."""

import ctypes
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import time


class Candidate:
    """A process that answers `prepare(...)`, `seconds()` and `peak_bytes()`.

    Args:
        module: name of a module with `CANDIDATES`, a dictionary of functions; each takes the arguments of `prepare` and
            returns a function without arguments, the thing to time.
        name: a key of it.
        environment: variables to set for the process.
    """

    def __init__(self, module, name, environment=None):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.processes", module, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            text=True,
        )

    def prepare(self, *arguments):
        """Builds what is to be timed, and runs it once."""
        self._ask("prepare", *arguments)

    def seconds(self):
        """Seconds of one run, right after another: on the clock, and of all processors on this process."""
        return self._ask("seconds")

    def peak_bytes(self):
        """Most memory that one run held beyond what was held before it; None where the system does not tell."""
        return self._ask("peak_bytes")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()

    def _ask(self, *message):
        print(json.dumps(message), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"Expected an answer of the candidate {self.name!r}. Received: none, it has ended.")
        return json.loads(answer)


def medians(candidates, repeats):
    """The median seconds of each prepared candidate, by name: `repeats` rounds of all of them."""
    return {name: statistics.median(wall) for name, (wall, _) in _rounds(candidates, repeats).items()}


def clock_and_processors(candidates, repeats):
    """By name, the least seconds on the clock and the median of all processors.

    The least, as the threads of a short run may share one core from its beginning to its end, or not: the clock then
    reads one of two values, and the median tells which came more often. What a run costs hardly depends on it.
    """
    rounds = _rounds(candidates, repeats)
    return {name: (min(wall), statistics.median(processors)) for name, (wall, processors) in rounds.items()}


def _rounds(candidates, repeats):
    """Name → seconds on the clock and seconds of all processors, one a round."""
    seconds = {c.name: [] for c in candidates}
    order = random.Random(0)
    for _ in range(repeats):
        # nobody always follows the same other, whose idle threads may still be waiting busily
        for candidate in order.sample(candidates, len(candidates)):
            time.sleep(0.05)
            seconds[candidate.name].append(candidate.seconds())
    return {name: tuple(zip(*values)) for name, values in seconds.items()}


def peak_bytes(module, name, *arguments, repeats=5):
    """`Candidate.peak_bytes` in a process of its own, where TensorFlow gives memory back instead of keeping it.

    The median of a few runs: what is held at once depends on which operations happen to run side by side.
    """
    with Candidate(module, name, {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"}) as candidate:
        candidate.prepare(*arguments)
        peaks = [candidate.peak_bytes() for _ in range(repeats)]
    return None if None in peaks else statistics.median(peaks)


def _memory(field):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(field + ":"))


def _peak_bytes(run):
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free but kept would hide in the memory held before
        with open("/proc/self/clear_refs", "w") as reset:  # the highest resident size counts from here
            reset.write("5")
        before = _memory("VmRSS")
    except (OSError, AttributeError):  # another system than Linux, another library than glibc
        return None
    run()
    return _memory("VmHWM") - before


def _serve(module, name):
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints is an answer
    make, run = importlib.import_module(module).CANDIDATES[name], None
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        answer = None
        if what == "prepare":
            run = None  # frees what the last one held
            run = make(*arguments)
            run()
        elif what == "seconds":
            run()  # another process had the cores: as in a training loop, threads and caches are warm when it counts
            start = time.perf_counter(), time.process_time()
            run()
            answer = time.perf_counter() - start[0], time.process_time() - start[1]
        else:
            answer = _peak_bytes(run)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
