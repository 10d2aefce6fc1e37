"""``python -m verify`` is the same as ``verify``."""

from verify.cli import main

main()
