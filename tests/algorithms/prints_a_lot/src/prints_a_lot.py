import os
import sys


def apply(input):
    if isinstance(input, int):
        for _ in range(input):
            os.write(1, b"x" * 1024)
        return input
    print("python says", input)
    print("and complains", file=sys.stderr)
    os.system(f"echo the shell says {input}")
    return "said"
