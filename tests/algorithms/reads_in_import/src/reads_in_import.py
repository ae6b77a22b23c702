"""Reads its standard input while it is imported, and serves nothing."""

import os
import subprocess
import sys

found = [sys.stdin.read(), os.read(0, 10).decode(), subprocess.run(["cat"], stdout=subprocess.PIPE).stdout.decode()]
if __name__ == "__main__":
    sys.init("this block is for trying the file out at home")


def apply(input):
    return [found, sys.stdin.read(), os.path.exists("/tmp/algoout")]
