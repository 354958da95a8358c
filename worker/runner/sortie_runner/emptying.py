"""Empties the directories that a call could write to, whatever it left there: links, locked directories, a tree that is
deeper than a path can be; and makes the directory itself as it was, so that it tells the next call nothing."""

import errno
import fcntl
import os
import stat

# linux/fs.h, for machines whose pointers have 8 bytes.
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
# Attributes that the owner of a directory can set.
OURS = ("user.", "system.posix_acl_")
MODE = 0o700
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Writable:
    """A directory that calls write to."""

    def __init__(self, path: str, own: bool = False) -> None:
        self.path = path
        # It is a file system of its own.
        self._own = own
        directory = os.open(path, DIRECTORY)
        self.flags = _flags(directory)
        os.close(directory)
        self._mode = os.stat(path).st_mode
        # What is mounted there can't be changed, and isn't of a call (confine.show_again).
        self._fixed = frozenset(name for name in os.listdir(path) if os.path.ismount(f"{path}/{name}"))
        self._taken = self._take()

    def is_empty(self) -> bool:
        """True if nothing is in it that takes room, and it can be entered: where it is a file system of its own."""
        return self._taken == self._take() and os.lstat(self.path).st_mode == self._mode

    def empty(self) -> None:
        """Removes what a call wrote. Never follows a link; fails if the directory itself is no longer ours."""
        mode = os.lstat(self.path).st_mode
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(self.path)
        if stat.S_IMODE(mode) != MODE:
            # The handler may have locked it.
            os.chmod(self.path, MODE)
        directory = os.open(self.path, DIRECTORY)
        try:
            if not self._is_as_made(directory):
                _empty(directory, self._fixed)
                self._reset(directory)
            # Always: else the time of its last change would tell whether the call before has touched it.
            os.utime(directory, (0, 0))
        finally:
            os.close(directory)

    def remove(self) -> None:
        """Removes the directory itself too, as far as that can be done."""
        try:
            self.empty()
            os.rmdir(self.path)
        except OSError:
            pass

    def _take(self) -> tuple[int, int]:
        """What its file system holds: files and blocks."""
        told = os.statvfs(self.path)
        return told.f_files - told.f_ffree, told.f_blocks - told.f_bfree

    def _is_as_made(self, directory: int) -> bool:
        """True if nobody has changed it since it was emptied: told by what that sets, and by what its file system holds, for
        times can be set back."""
        told = os.fstat(directory)
        return (
            self._own
            and told.st_mtime_ns == told.st_atime_ns == 0
            and self._taken == self._take()
            and self.flags == _flags(directory)
            and not _attributes(directory)
        )

    def _reset(self, directory: int) -> None:
        for name in _attributes(directory):
            os.removexattr(directory, name)
        if self.flags is not None and _flags(directory) != self.flags:
            fcntl.ioctl(directory, FS_IOC_SETFLAGS, self.flags)


def _attributes(directory: int) -> list[str]:
    try:
        return [name for name in os.listxattr(directory) if name.startswith(OURS)]
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


def _flags(directory: int) -> bytes | None:
    """What `chattr` sets; `None` where the file system has no such thing."""
    try:
        return fcntl.ioctl(directory, FS_IOC_GETFLAGS, bytes(8))
    except OSError:
        return None


def _empty(top: int, fixed: frozenset[str]) -> None:
    """Directories are moved up to the top before they are removed: that needs neither recursion nor more than two
    descriptors, however deep they are."""
    # Nobody could guess these names, so no entry has one.
    prefix, number = os.urandom(8).hex(), 0
    names = [name for name in os.listdir(top) if name not in fixed]
    while names:
        name = names.pop()
        if _unlinked(name, top):
            continue
        os.chmod(name, 0o700, dir_fd=top)
        directory = os.open(name, DIRECTORY, dir_fd=top)
        try:
            for inner in os.listdir(directory):
                if not _unlinked(inner, directory):
                    # Only one that can be written to can be moved.
                    os.chmod(inner, 0o700, dir_fd=directory)
                    names.append(f"{prefix}-{number}")
                    number += 1
                    os.rename(inner, names[-1], src_dir_fd=directory, dst_dir_fd=top)
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=top)


def _unlinked(name: str, directory: int) -> bool:
    """Removes an entry unless it is a directory."""
    try:
        os.unlink(name, dir_fd=directory)
        return True
    except IsADirectoryError:
        return False
