"""Stock levels, the ledger (the only writer of quantities), availability, sales blocks and stock documents."""
