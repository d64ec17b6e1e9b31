"""``python -m stablesweep``."""

from stablesweep.cli import main

if __name__ == "__main__":
    main()
