"""Many images become results in files: `sources` finds images, `sinks` writes results."""
