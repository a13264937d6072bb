"""What the report is made of: comparisons as plain values, and these as text, tables and charts."""
