"""What `import keras_ls` costs beyond `import keras`: fresh processes, in turn."""

import subprocess
import sys

from benchmarks.interleaved import medians, show

OURS = "import keras_ls"


def process(statement):
    return lambda: subprocess.run([sys.executable, "-c", statement], check=True, stderr=subprocess.DEVNULL)


def main(repeats=5):
    seconds = medians({OURS: process(OURS), "import keras": process("import keras")}, repeats)
    show("Import, a fresh process each", {"": seconds}, OURS)
    more = seconds[OURS] - seconds["import keras"]
    print(f"import keras_ls costs {more:.2f} s more than import keras (target: at most 0.3 s)\n")
