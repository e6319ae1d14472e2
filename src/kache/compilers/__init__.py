"""What kache knows of the compilers it caches: one package a compiler, rustc so far."""
