"""Facts of the whole installation. They are in its database, because the environments of two processes may differ."""

from inventory_project.foundation.messaging.models import Installation

THE_ROW = 1


def read() -> Installation:
    """The facts as they are now. An installation that has recorded none yet has the defaults."""
    return Installation.objects.filter(pk=THE_ROW).first() or Installation()


def lock() -> Installation:
    """The facts, which no other process can change until this transaction ends. Must run inside a transaction."""
    row, _ = Installation.objects.select_for_update().get_or_create(pk=THE_ROW)
    return row
