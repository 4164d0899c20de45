"""`python -m zeroshot` is the command line."""

from zeroshot.cli import run

if __name__ == "__main__":
    run()
