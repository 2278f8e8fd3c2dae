"""What the program `tern` is told wrongly, it says by its name, before anything begins.

usage: refusals_test.py PROGRAM
"""

import subprocess
import sys

# Arguments, and what the answer has in it.
CASES = [
    ("nonsense", "nonsense"),
    ("snapshot nonsense", "nonsense"),
    ("", "subcommand is required"),
    ("snapshot", "subcommand is required"),
    ("bench --nonsense 1", "--nonsense"),
    ("bench --suite nonsense", "'nonsense'"),
    ("bench --plot a.gif", "--plot: is neither .svg nor .png: a.gif"),
    ("bench --suite snapshot --folder /nowhere", "--folder: Directory does not exist: /nowhere"),
    ("bench --key-bytes -8", "--key-bytes"),
    ("bench --value-bytes 0", "--value-bytes"),
    ("replay --synthetic zipf --requests -1", "--requests: "),
    ("replay --synthetic zipf --threads 0", "--threads "),
    ("replay --synthetic zipf --memory -1", "--memory: '-1'"),
    ("replay --synthetic zipf --objects 10 --memory x", "--memory: 'x'"),
    ("replay --synthetic zipf --objects 0", "--objects: '0'"),
    ("snapshot dump /nowhere --limit -1", "--limit: "),
    ("snapshot import /nowhere/at_all --memory-bytes -1", "--memory-bytes: "),
    ("snapshot convert /nowhere /nowhere --memory-bytes 1Q", "--memory-bytes: "),
]
NUMBERS = [
    "--seed -1", "--memory-bytes -1", "--memory-bytes 1M", "--memory-bytes 2T", "--entries -1", "--entries 0", "--entries x",
    "--threads 0", "--threads -1", "--threads 1,257", "--batch 0", "--repeats 0", "--repeats -1", "--repeats 1001", "--seconds 0",
    "--seconds nan", "--warm-up -1",
]
for suite in ["", "--suite core", "--suite bounds", "--suite views", "--suite order", "--suite bus", "--suite snapshot", "--suite seeds"]:
    CASES += [(f"bench {suite} {number}", number.split()[0]) for number in NUMBERS]

# Of a run that has begun.
BEGUN = ["processors", "ratio"]


def main(program: str) -> int:
    wrong = 0
    for arguments, says in CASES:
        try:
            run = subprocess.run([program, *arguments.split()], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            print(f"tern {arguments}: runs")
            wrong += 1
            continue
        said = run.stdout + run.stderr
        if run.returncode <= 0 or says not in said or any(word in said for word in BEGUN):
            print(f"tern {arguments}: code {run.returncode}, without '{says}':\n{said[:300]}")
            wrong += 1
    print(f"{len(CASES)} refusals, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
