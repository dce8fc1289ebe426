"""One module for each way to score neurons for single inputs."""
