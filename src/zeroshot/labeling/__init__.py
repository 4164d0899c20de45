"""Find images (`sources`) and write results to files (`sinks`)."""
