// A module of headers alone needs one source file.
