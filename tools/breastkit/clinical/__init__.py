"""Clinical tables: read as they are published, explored, and correlated with what was measured in images."""
