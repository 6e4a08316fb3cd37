"""The helpers of these tests assert too; without this a failure there would not say what differs."""

import pytest

pytest.register_assert_rewrite("tests.db.reservations.model", "tests.db.stock.records")
