"""The version, in a module that loads nothing else. No I/O."""

VERSION = "0.1.0"
