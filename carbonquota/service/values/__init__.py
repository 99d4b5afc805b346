"""Values as settings have them: addresses, sizes, durations; each reader tells what is wrong and how to mend it."""
