"""The versioned context: history, snapshots, merging."""
