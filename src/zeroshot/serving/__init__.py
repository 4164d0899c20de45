"""Classification over HTTP. Its modules import FastAPI and are imported by `zeroshot serve` only."""
