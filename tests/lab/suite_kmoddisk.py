# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bundled fabric module on disks that wait, fail or are slow, and what ends their requests: functions of task management."""
import threading

from labdisks import DmDisk
from labkit import wait_until
from labkmod import (ABORT_TASK, ABORT_TASK_SET, ABORTED, BUSY, CLEAR_TASK_SET, LUN_RESET, NEXUS_RESET, OK, QUERY_TASK, QUERY_TASK_SET, RESET,
                     SUCCEEDED, TASK_ABORTED, WWN, KmodTest, Talk)


class KmodDisk(KmodTest):
    def test_task_management(self) -> None:
        """Under a disk that does not answer: what is asked about is found, what is aborted says so, and before its function does."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("read 7 1", "write 8 1 1", "read 9 1")
        self.in_flight(3)
        self.assertEqual([talk.function(QUERY_TASK, lun, tag) for lun, tag in ((1, 7), (1, 8), (1, 6), (0, 7))],
                         [SUCCEEDED, SUCCEEDED, OK, OK])
        self.assertEqual([talk.function(QUERY_TASK_SET, lun) for lun in (1, 0)], [SUCCEEDED, OK])
        # Others are none of its business.
        self.assertEqual([talk.function(f, 0) for f in (ABORT_TASK_SET, CLEAR_TASK_SET)], [SUCCEEDED, SUCCEEDED])
        talk.send("read 20 0", f"tmf {ABORT_TASK} 1 7")
        self.assertEqual(talk.tell("next"), "io 20 response 0 status 0")
        self.in_flight(5)                       # the function and its part of it
        disk.resume()
        answers = talk.answers(4)
        self.assertEqual(sorted(answers), ["io 7 response 2 status 0", "io 8 response 0 status 0", "io 9 response 0 status 0",
                                           f"tmf {ABORT_TASK} response {SUCCEEDED}"])
        self.assertLess(answers.index("io 7 response 2 status 0"), answers.index(f"tmf {ABORT_TASK} response {SUCCEEDED}"))

        for function, lun, ended in ((ABORT_TASK, 1, ABORTED), (ABORT_TASK_SET, 1, ABORTED), (CLEAR_TASK_SET, 1, ABORTED),
                                     (NEXUS_RESET, 0, ABORTED), (LUN_RESET, 1, RESET)):
            with self.subTest(function=function):
                self.suspend(disk)
                # A tag that is used twice, which no specification forbids a guest to do wrong.
                talk.send("read 5 1", "read 5 1 1")
                self.in_flight(2)
                talk.send(f"tmf {function} {lun} 5")
                # The function, and the core's part of it for each command, or for the unit.
                self.in_flight(4 if function == LUN_RESET else 5)
                disk.resume()
                self.assertEqual(talk.answers(3), [f"io 5 response {ended} status 0"] * 2 + [f"tmf {function} response {SUCCEEDED}"])
        # The unit says that it was reset, once.
        talk.send("read 6 1", "read 7 1")
        self.assertEqual(talk.answers(2), ["io 6 response 0 status 2", "io 7 response 0 status 0"])

    def test_task_aborted_status(self) -> None:
        """Another guest's reset of a disk that both have: the commands that it ends say so, if the disk is told to have them."""
        disk, store = self.slow()
        other = self.made("vhscsi", "vhscsi", "naa.5001405ccccccccc")
        for tas, answer in ((1, f"io 1 response {OK} status {TASK_ABORTED}"), (0, f"io 1 response {RESET} status 0")):
            with self.subTest(tas=tas):
                self.fabric.unlink(1)
                store.attribute("emulate_tas", tas)
                self.fabric.link(1, store)
                other.link(1, store)
                here, there = Talk(self, self.fabric), Talk(self, other)
                here.send("read 9 1", "read 9 1")       # for the attention of a unit that is new
                here.answers(2)
                self.suspend(disk)
                here.send("read 1 1")
                self.in_flight(1)
                there.send(f"tmf {LUN_RESET} 1 0")
                wait_until("the reset waits", lambda: other.stats()["in-flight"] == 2)
                disk.resume()
                self.assertEqual(there.tell("next"), f"tmf {LUN_RESET} response {SUCCEEDED}")
                self.assertEqual(here.tell("next"), answer)
                self.assertEqual([here.tell("clear"), there.tell("clear")], ["0", "0"])
                other.unlink(1)

    def test_unlink_in_flight(self) -> None:
        """A LUN goes while its disk does not answer: that waits, the guest's other disk does not, and in the end all is answered."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("read 1 1", "write 2 1")
        self.in_flight(2)
        unlink = threading.Thread(target=(self.fabric.tpg / "lun/lun_1/disk").unlink)
        unlink.start()
        self.addCleanup(unlink.join)
        self.addCleanup(disk.resume)
        for tag in range(10, 20):
            talk.send(f"read {tag} 0")
            self.assertRegex(talk.tell("next"), rf"io {tag} response 0 status [02]")
        self.assertTrue(unlink.is_alive())
        disk.resume()
        self.assertEqual(sorted(talk.answers(2)), ["io 1 response 0 status 0", "io 2 response 0 status 0"])
        unlink.join(30)
        self.assertFalse(unlink.is_alive())
        (self.fabric.tpg / "lun/lun_1").rmdir()

    def test_kill_in_flight(self) -> None:
        """A process that is killed goes when its disk answers, and not before; nobody else waits for it."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("read 1 1", "write 2 1")
        self.in_flight(2)
        talk.send(f"tmf {ABORT_TASK} 1 1", f"tmf {LUN_RESET} 1 0")
        talk.child.kill()
        # It holds the device, so another cannot have it; looking is possible all the time.
        self.assertEqual(self.fabric.status()["attached"], "1")
        other = self.made("vhscsi", "vhscsi", "naa.5001405ccccccccc")
        Talk(self, other).send("read 1 0")
        disk.resume()
        talk.child.wait(30)
        wait_until("it is detached", lambda: self.fabric.status() == {"attached": "0"})

    def freeze(self, disk: DmDisk, talk: Talk) -> None:
        """A batch of reads of LUN 1, the first of which keeps waiting who submits it."""
        self.suspend(disk)
        talk.send("batch 100 64 1")
        self.in_flight(64)

    def test_frozen_file(self) -> None:
        """A disk that keeps waiting who submits to it: the guest's other disks go on, on the same queue, and so do functions."""
        disk, _ = self.slow(control="fd_dev_name")
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("read 1 1")
        self.in_flight(1)
        for tag in range(10, 20):
            talk.send(f"read {tag} 0")
            self.assertRegex(talk.tell("next"), rf"io {tag} response 0 status [02]")
        talk.send("batch 20 30 1", "batch 50 20 0")
        self.assertEqual(sorted(talk.answers(20)), [f"io {tag} response 0 status 0" for tag in range(50, 70)])
        self.assertEqual([talk.function(f, 0) for f in (ABORT_TASK_SET, LUN_RESET)], [SUCCEEDED] * 2)
        self.assertEqual([talk.function(QUERY_TASK, 1, tag) for tag in (1, 49, 50)], [SUCCEEDED, SUCCEEDED, OK])
        disk.resume()
        self.assertEqual(sorted(talk.answers(31)), sorted(f"io {tag} response 0 status 0" for tag in (1, *range(20, 50))))

    def test_large_reads_of_a_frozen_file(self) -> None:
        """They are submitted apart from each other, but not all: the guest's other disk has its turn, and who is killed goes in the end."""
        disk, _ = self.slow(control="fd_dev_name")
        talk = Talk(self, self.fabric)
        talk.send("read 1 0", "read 2 1")
        talk.answers(2)
        self.suspend(disk)
        talk.send("large 100 40 1")
        self.in_flight(40)
        talk.send("large 20 20 0", "read 40 0")
        self.assertEqual(sorted(talk.answers(21)), [f"io {tag} response 0 status 0" for tag in range(20, 41)])
        talk.send(f"tmf {ABORT_TASK_SET} 1 0")
        wait_until("the function is under way", lambda: self.fabric.stats()["in-flight"] > 41)
        disk.resume()
        answers = talk.answers(41)
        self.assertEqual(answers.pop(), f"tmf {ABORT_TASK_SET} response {SUCCEEDED}")
        self.assertEqual({int(a.split()[1]) for a in answers}, set(range(100, 140)))
        self.assertLessEqual({a.partition("response")[2] for a in answers}, {f" {end} status 0" for end in (OK, ABORTED)})

        self.suspend(disk)
        talk.send("large 100 40 1")
        self.in_flight(40)
        talk.child.kill()
        disk.resume()
        talk.child.wait(30)
        wait_until("it is detached", lambda: self.fabric.status() == {"attached": "0"})

    def test_function_is_last(self) -> None:
        """What is not submitted yet, as the first of a batch is being waited for, is also what a function is about."""
        disk, _ = self.slow(control="fd_dev_name")
        talk = Talk(self, self.fabric)
        for function, lun, tag in ((ABORT_TASK, 1, 163), (ABORT_TASK_SET, 1, 0), (CLEAR_TASK_SET, 1, 0), (NEXUS_RESET, 0, 0), (LUN_RESET, 1, 0)):
            with self.subTest(function=function):
                self.freeze(disk, talk)
                talk.send(f"tmf {function} {lun} {tag}")
                wait_until("the function is under way", lambda: self.fabric.stats()["in-flight"] > 65)
                # Another is answered meanwhile, and not that one.
                self.assertEqual(talk.function(QUERY_TASK_SET, 1), SUCCEEDED)
                disk.resume()
                answers = talk.answers(65)
                end = answers.index(f"tmf {function} response {SUCCEEDED}")
                about = [f"io {t} " for t in range(100, 164) if tag in (t, 0)]
                self.assertEqual([a for a in answers[end:] if a.startswith(tuple(about))], [])
                self.assertEqual(len({a.split()[1] for a in answers if a.startswith("io ")}), 64)

    def test_function_of_what_is_in_the_ring(self) -> None:
        """A request that the driver offered before the function, though nobody was told of it yet: it is older."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("silent 100 20 1")
        self.assertEqual(self.fabric.stats()["in-flight"], 0)
        talk.send(f"tmf {LUN_RESET} 1 0")
        self.in_flight(22)
        talk.send("silent 120 1 1")
        self.assertEqual(talk.function(QUERY_TASK, 1, 120), SUCCEEDED)
        disk.resume()
        answers = talk.answers(22)
        end = answers.index(f"tmf {LUN_RESET} response {SUCCEEDED}")
        self.assertLessEqual({f"io {tag}" for tag in range(100, 120)}, {a.partition(" response")[0] for a in answers[:end]})

    def test_functions_together(self) -> None:
        """Several about one command: it is answered once, then they are."""
        disk, _ = self.slow(control="fd_dev_name")
        talk = Talk(self, self.fabric)
        self.freeze(disk, talk)
        talk.send(f"tmf {ABORT_TASK} 1 163", f"tmf {LUN_RESET} 1 0", f"tmf {ABORT_TASK_SET} 1 0", f"tmf {ABORT_TASK} 1 163")
        # Another disk's is not among those that wait for each other.
        self.assertEqual(talk.function(LUN_RESET, 0), SUCCEEDED)
        disk.resume()
        answers = talk.answers(68)
        ends = [n for n, a in enumerate(answers) if a.startswith("tmf ")]
        self.assertEqual([answers[n] for n in ends], [f"tmf {f} response {SUCCEEDED}" for f in (ABORT_TASK, LUN_RESET, ABORT_TASK_SET, ABORT_TASK)])
        self.assertLess(next(n for n, a in enumerate(answers) if a.startswith("io 163 ")), ends[0])
        self.assertEqual(ends[1:], [65, 66, 67])
        talk.send("read 1 0", "read 2 0")
        self.assertEqual(talk.answers(2)[1], "io 2 response 0 status 0")

    def test_failing(self) -> None:
        """The disk fails while I/O runs: errors as long as it does, and none from then on."""
        disk, _ = self.slow(0)
        child = self.start("load-through", self.fabric.node, WWN)
        self.said(child, "running")
        before = self.fabric.stats()["errors"]
        disk.load("error")
        wait_until("requests fail", lambda: self.fabric.stats()["errors"] > before + 200)
        disk.load("linear")

        def all_well() -> bool:
            now = self.fabric.stats()
            later = wait_until("requests are answered", lambda: (s := self.fabric.stats())["requests"] > now["requests"] + 500 and s)
            return now["errors"] == later["errors"]
        wait_until("no request fails any more", all_well)
        self.assertEqual(set(self.fabric.faults().values()), {"none"})
        self.assertIsNone(child.poll())

    def test_slow(self) -> None:
        """Each request takes its time: they overlap, none fails, and who is killed goes when they are through."""
        disk, _ = self.slow(0)
        child = self.start("load", self.fabric.node, WWN)
        self.said(child, "running")
        before = self.fabric.stats()
        disk.load("delay")
        self.addCleanup(disk.load, "linear")
        wait_until("many are under way at once", lambda: self.fabric.stats()["in-flight"] > 32)
        after = wait_until("they are answered", lambda: (s := self.fabric.stats())["requests"] > before["requests"] + 640 and s)
        self.assertEqual(after["errors"], before["errors"])
        self.assertIsNone(child.poll())
        child.kill()
        child.wait(30)
        wait_until("it is detached", lambda: self.fabric.status() == {"attached": "0"})

    def test_bounce_limit(self) -> None:
        """What is copied is bounded: a guest cannot have the host's memory by buffers that nothing can use as they are."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send(*(f"bounce {tag} 1 8192" for tag in range(8)))
        self.in_flight(8)
        for line in ("bounce 8 1 8192", "bounce 9 1 4"):
            talk.send(line)
            self.assertEqual(talk.tell("next"), f"io {line.split()[1]} response {BUSY} status 0")
        # One that needs no copy is none of it.
        talk.send("read 10 1")
        self.in_flight(9)
        disk.resume()
        self.assertEqual(sorted(talk.answers(9)), sorted(f"io {tag} response 0 status 0" for tag in (*range(8), 10)))
        talk.send("bounce 11 1 8192")
        self.assertEqual(talk.tell("next"), "io 11 response 0 status 0")
