"""The metrics of reservations, counted after the commit. Dashboards and alerts rely on their names."""

from prometheus_client import Counter, Gauge

reservations = Counter("inventory_reservations", "Reservations created.")
# A gauge that only rises, because a Counter would be exported as inventory_reservations_expired_total.
expired = Gauge(
    "inventory_reservations_expired", "Reservations released because their time was up.", multiprocess_mode="sum"
)
left_behind = Gauge(
    "inventory_expiry_left_behind",
    "Holds that were overdue when the last sweep began and that it could not release.",
    multiprocess_mode="mostrecent",
)
refusals = Counter("inventory_reservation_refusals", "Requests refused, by verb and code.", ["verb", "code"])
settlements = Counter("inventory_reservation_settlements", "Holds settled, by their new status.", ["status"])
replays = Counter(
    "inventory_reservation_replays", "Repeated requests that got the same answer again, by verb.", ["verb"]
)
gate_answers = Counter(
    "inventory_gate_answers",
    "Reservation requests at the gate: refused by the counters, probed (let through to the database to check the "
    "counters), or passed.",
    ["answer"],
)
