"""Measures the service beside the way it would be written by the book, in one run: `make bench`."""
