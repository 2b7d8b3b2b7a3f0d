"""What the system gives to machine code: a compiler, memory that runs, threads, a cache."""
