"""For the python programs here: as `reached` of common.sh."""
import os


def reached(n):
    with open("count.new", "w") as f:
        f.write(str(n))
    os.rename("count.new", "count")
