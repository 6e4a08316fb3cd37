"""The HTTP door of stock, a module for each thing that it lets callers read or do."""
