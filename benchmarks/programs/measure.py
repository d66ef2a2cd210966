"""Runs one command and writes what it took: wall, CPU, peak memory of the largest process. Small on purpose.

Linux counts the memory of whoever starts a process into that process's peak, so a large one must not do this.
"""

import os
import sys
import time

result, *command = sys.argv[1:]
begin = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ)
_, status, used = os.wait4(child, 0)
wall = time.perf_counter() - begin
with open(result, "w") as file:
    file.write(f"{wall} {used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024}")
sys.exit(os.waitstatus_to_exitcode(status) & 255)
