"""The HTTP door of stock, with one module for each resource."""
