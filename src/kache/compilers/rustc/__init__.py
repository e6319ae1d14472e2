"""rustc: its command line (args), its dep-info files (depinfo), its identity (toolchain)."""
