import sys

sys.exit("no model found")
