"""prometheus_client is told the process's id, and each process after a fork still has files of its own."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
from inventory_project import metrics_folder
metrics_folder.remember_process_id()
from prometheus_client import Counter
counter = Counter("things", "Things.")
counter.inc()
child = os.fork()
counter.inc(2)
if child:
    os.waitpid(child, 0)
    print(os.getpid(), child)
"""


def test_after_a_fork_each_process_counts_into_a_file_of_its_own(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    assert {file.name for file in tmp_path.glob("*.db")} == {f"counter_{pid}.db" for pid in ended.stdout.split()}
