"""The toolkit's version. `nexus --version`, the wheel and the agents take it from here."""

VERSION = "0.2.0.dev0"
