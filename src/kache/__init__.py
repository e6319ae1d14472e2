"""kache: a compile cache for Rust."""

__version__ = "0.1.0"
