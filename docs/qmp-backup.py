"""Runs a blockdev-backup job of qemu-storage-daemon for docs/snapshot-bench.sh.

Arguments: the QMP socket and the file of the node "copy". Prints when the job began and
when its file was durable, as Unix times in ms.
"""
import json
import os
import socket
import sys
import time

stream = socket.socket(socket.AF_UNIX)
stream.connect(sys.argv[1])
lines = stream.makefile("rw")


def until(wanted):
    for line in lines:
        message = json.loads(line)
        if "error" in message:
            sys.exit(line)
        if wanted(message):
            return message


def run(command, **arguments):
    json.dump({"execute": command, "arguments": arguments}, lines)
    lines.flush()
    return until(lambda m: "return" in m)


until(lambda m: "QMP" in m)
run("qmp_capabilities")
start = time.time()
run("blockdev-backup", **{"job-id": "backup", "device": "disk", "target": "copy", "sync": "full"})
ended = until(lambda m: m.get("event") == "BLOCK_JOB_COMPLETED")
if "error" in ended["data"]:
    sys.exit(str(ended))
with open(sys.argv[2], "r+b") as f:
    os.fsync(f.fileno())
print(int(start * 1000), int(time.time() * 1000))
