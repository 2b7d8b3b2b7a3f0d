"""From a plan to machine code for the processor it runs on."""
