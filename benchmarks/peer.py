"""A peer's script in a process of its own, which prints one JSON line at its end."""
import json
import os
import subprocess
import sys


def ask(script, *arguments, threads):
    """What it printed, read back."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    shown = subprocess.run([sys.executable, script, *map(str, arguments)], check=True, env=environment, capture_output=True, text=True).stdout
    return json.loads(shown.strip().splitlines()[-1])
