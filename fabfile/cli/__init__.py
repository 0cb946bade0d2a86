"""The tasks: parse, call, show, exit code. `namespace` is what both `inv` and `fab` list."""
