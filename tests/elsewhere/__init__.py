"""The stack on ministack, an implementation of AWS that is not this project's: `make test-elsewhere`."""
