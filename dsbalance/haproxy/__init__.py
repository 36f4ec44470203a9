"""What speaks HAProxy's languages: a codec a file. No I/O."""
