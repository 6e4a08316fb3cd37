"""What the service is measured by; `make bench` runs it, docs/performance.md tells of it."""
