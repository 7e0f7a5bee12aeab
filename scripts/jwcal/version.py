"""The version of this package: a change of numbers in the products raises it."""

VERSION = "0.1.0"
