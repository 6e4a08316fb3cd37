"""Sortable times with seconds and time zone, so that they can be compared with logs and events."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s e"
