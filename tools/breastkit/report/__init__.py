"""Reports people look at: HTML pages with pictures, tables and plots."""
