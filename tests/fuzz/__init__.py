"""Random damage to small good files: whatever comes of it is read, or refused with our error."""
