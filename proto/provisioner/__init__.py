"""The contract: .proto files and, beside them, their committed stubs."""
