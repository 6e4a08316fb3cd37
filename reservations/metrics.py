"""What the life of reservations counts, under the names that dashboards and alerts rely on; raised after the commit."""

from prometheus_client import Counter, Gauge

reservations = Counter("inventory_reservations", "Reservations made.")
# A gauge that only rises, because a Counter would be exported as inventory_reservations_expired_total.
expired = Gauge(
    "inventory_reservations_expired", "Reservations released because their time was up.", multiprocess_mode="sum"
)
refusals = Counter("inventory_reservation_refusals", "Requests refused, by verb and code.", ["verb", "code"])
settlements = Counter("inventory_reservation_settlements", "Holds settled, by what became of them.", ["status"])
replays = Counter("inventory_reservation_replays", "Requests answered as they were before, by verb.", ["verb"])
gate_answers = Counter(
    "inventory_gate_answers",
    "Reservations that came to the gate: refused by the counters, probed (refused by them, and sent on all the same to "
    "see whether they are right), passed.",
    ["answer"],
)
