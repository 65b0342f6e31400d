# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unit tests' fake kernel and the real one: the same calls, errors included, give the same answers."""
import difflib
import os
import unittest

from labdisks import null_disks
from labkit import fabric, run

LIB = "/usr/local/lib/vhscsid-lab"


class ConformanceTest(unittest.TestCase):
    def test_fake_is_like_the_kernel(self) -> None:
        run(["modprobe", "-a", "target_core_iblock", fabric()])
        disks = [d.device for d in null_disks(3)]
        real = run([f"{LIB}/cfs-conformance-real", *disks], timeout=120).stdout.splitlines()
        env = os.environ | {"VHSCSID_FAKE_FABRIC": "bundled" if fabric() == "vhscsi" else "in-tree"}
        fake = run([f"{LIB}/cfs-conformance-fake", *disks], timeout=120, env=env).stdout.splitlines()
        self.assertGreater(len(real), 100)
        drift = list(difflib.unified_diff(real, fake, "kernel", "fake", lineterm="", n=1))
        self.assertEqual(drift, [], "\n".join(drift[:60]))
