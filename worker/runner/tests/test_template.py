"""The template's own tools: finding processes, emptying a directory that a handler has had."""

import os
import tempfile
import unittest

from sortie_runner import template


class Template(unittest.TestCase):
    def test_children_are_found_and_the_dead_are_told_apart(self) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        os.close(read)
        self.assertIn(pid, template.children(os.getpid()))
        self.assertIn(pid, template.descendants(os.getpid()))
        self.assertNotEqual(template.state(pid), "Z")
        template.kill(pid)
        os.waitpid(pid, 0)
        self.assertEqual(template.state(pid), "Z")
        template.kill(pid)
        os.close(write)

    def test_a_directory_is_emptied_whatever_is_in_it(self) -> None:
        with tempfile.TemporaryDirectory() as outside, tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(outside, "kept"), "w"):
                pass
            os.symlink(outside, os.path.join(directory, "link"))
            deep = os.path.join(directory, "locked", "deep")
            os.makedirs(deep)
            with open(os.path.join(deep, "file"), "w"):
                pass
            os.chmod(deep, 0)
            os.chmod(os.path.dirname(deep), 0o500)
            template.empty(directory)
            self.assertEqual(os.listdir(directory), [])
            self.assertEqual(os.listdir(outside), ["kept"])

    def test_a_directory_that_became_a_link_is_not_touched(self) -> None:
        with tempfile.TemporaryDirectory() as outside, tempfile.TemporaryDirectory() as parent:
            link = os.path.join(parent, "link")
            os.symlink(outside, link)
            with self.assertRaises(NotADirectoryError):
                template.empty(link)
