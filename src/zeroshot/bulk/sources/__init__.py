"""Sources of images, by kind."""
