"""Faults on purpose, behind `make faults`: kills, damage, full disks; what is promised holds, and the page says so."""
