const char prefix[] = PREFIX;
