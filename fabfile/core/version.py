"""The toolkit's version, said once: `nexus --version`, the wheel's and the agents' come from here."""

VERSION = "0.2.0.dev0"
