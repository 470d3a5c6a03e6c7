"""Run the command line: ``python -m langchain_promptrun``."""

import signal
import sys

from langchain_promptrun._cli.main import main

status = main()
# All is said; a Ctrl-C while the interpreter takes itself down would only print where it struck.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.exit(status)
