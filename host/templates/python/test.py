#!/usr/bin/env python3
"""What crabbox itself asks of every provider. CRABBOX is where it is, if not on PATH."""
import os
import subprocess
import unittest

PROVIDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "crabbox-provider-example")


class Conformance(unittest.TestCase):
    def test_check(self):
        crabbox = os.environ.get("CRABBOX", "crabbox")
        subprocess.run([crabbox, "plugins", "check", "--live", PROVIDER], check=True)


if __name__ == "__main__":
    unittest.main()
