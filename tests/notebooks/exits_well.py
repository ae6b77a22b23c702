import sys

learned = 5
sys.exit(0)
