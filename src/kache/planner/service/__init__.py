"""The planner service: HTTP in front of a database of builds. Needs the extra `kache[planner]`."""
