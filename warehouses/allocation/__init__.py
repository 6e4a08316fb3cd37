"""The choice of the warehouses that serve an order, and the reasons for it: pure, without framework or database."""
