"""The ground of the state folder: the database that its stores share, and what its faults mean to people."""
