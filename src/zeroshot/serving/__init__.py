"""Classification over HTTP. Only `zeroshot serve` imports its modules, which need FastAPI."""
