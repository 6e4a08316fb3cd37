"""Moments to the second, with their zone, in the order that sorts; they are compared with logs and events."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s e"
