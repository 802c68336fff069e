"""Data sets: importing, downloading and loading them, and the order that training sees."""
