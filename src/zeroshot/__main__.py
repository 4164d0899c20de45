"""`python -m zeroshot` is the command line."""

from zeroshot.cli import main

if __name__ == "__main__":
    main(prog_name="zeroshot")
