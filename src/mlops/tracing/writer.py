"""How do records get from memory into the spool? One thread, groups of records, nothing half written."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue

import orjson

from src.errors import SpoolUnusable
from src.mlops.tracing.configuration import FallbackSettings
from src.mlops.tracing.encoding import Encoder
from src.mlops.tracing.recorder import Item, SpanRecorder
from src.mlops.tracing.sampling import TraceRouter
from src.mlops.tracing.spool import REFUSALS, SegmentWriter, framed, spool_bytes

_log = logging.getLogger(__name__)

GATHER_S = 0.01
# Records encoded between two chances for other threads to run.
CHUNK = 8
MAX_CHUNKS = 128
# Of the bound, at most: free of records, so that notes of refusals and the head of a segment find room below it.
_RESERVE = 4096.0
_SIZE_EVERY_S = 0.5
_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)


class SpoolWriter:
    """Encodes what a recorder queued and appends it to the spool, within 50 ms of ending.

    A record counts as accepted once its group is in the segment. While the disk refuses, groups wait in
    memory and are tried again; while the spool is at its bound, records are refused and counted.
    """

    def __init__(
        self,
        recorder: SpanRecorder,
        encoder: Encoder,
        router: TraceRouter,
        folder: Path,
        sinks: Mapping[str, bool],
        settings: FallbackSettings,
        *,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self._recorder = recorder
        self._encoder = encoder
        self._router = router
        self._folder = folder
        self._sinks = dict(sinks)
        self._settings = settings
        self._on_commit = on_commit
        # Re-entrant, both: a span may end inside the garbage collection of any line of this file.
        self._news: SimpleQueue[None] = SimpleQueue()
        self._starting = threading.RLock()
        self._is_starting = False
        self._thread: threading.Thread | None = None
        self._closing = False
        self._segment: SegmentWriter | None = None
        self._size_known_at = float("-inf")
        self._other_bytes = 0
        self.noted_refusals = 0
        self._told_refusals = 0
        self.accepted = 0
        self.refused = 0
        self.last_error: str | None = None
        recorder.wake = self.wake
        recorder.writer_sleeps = True

    def wake(self) -> None:
        """There is something to write."""
        self._news.put(None)
        if self._thread is None:
            self._start()

    def barrier(self, timeout: float) -> bool:
        """Wait until everything queued so far is in the spool.

        False when that took longer than ``timeout``, or when a record was refused since the last time.
        """
        reached = threading.Event()
        self._recorder.queue.append(reached.set)
        self.wake()
        if not reached.wait(timeout):
            return False
        refused, self._told_refusals = self.total_refused - self._told_refusals, self.total_refused
        return not refused

    def close(self, timeout: float = 1.0) -> bool:
        """Write what is queued and let go of the segment; False when something could not be written in time."""
        self._closing = True
        if self._thread is None and not self._recorder.queue:
            return True
        self.wake()
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    @property
    def total_refused(self) -> int:
        """Records refused since the start: no room in memory or in the spool."""
        return self.refused + self._recorder.refused

    def abandon(self) -> None:
        """In a child process: the segment and the thread belong to the parent."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()
        self._thread = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._is_starting:
                return
            self._is_starting = True
            try:
                thread = threading.Thread(target=self._run, name="e2i-spool-writer", daemon=True)
                thread.start()
            except RuntimeError as error:  # no more threads, or the interpreter is ending: tried at the next wake
                self._report(error)
            else:
                self._thread = thread
            finally:
                self._is_starting = False

    def _run(self) -> None:
        recorder = self._recorder
        while True:
            if not recorder.queue:
                recorder.writer_sleeps = True
                # What was queued between the look and the flag has not woken anybody.
                if not recorder.queue and not self._closing:
                    self._news.get()
                recorder.writer_sleeps = False
                self._forget_news()
            if not recorder.queue and self._closing:
                break
            if not self._closing:
                time.sleep(GATHER_S)
            try:
                self._write_group()
            except Exception as error:  # noqa: BLE001 - the thread that writes for everybody goes on
                self._report(error)
        self._note_refusals(last=True)
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()
        self._on_commit()
        # What ends after the close is still written, by a thread that ends with it.
        with self._starting:  # not before whoever started this thread has noted it
            self._thread = None
        recorder.writer_sleeps = True
        if recorder.queue:
            self.wake()

    def _forget_news(self) -> None:
        try:
            while True:
                self._news.get_nowait()
        except Empty:
            return

    def _write_group(self) -> None:
        """A group of what is queued: written, forced to the disk once, then counted as accepted."""
        reached: list[Callable[[], None]] = []
        count = 0
        try:
            for _ in range(MAX_CHUNKS):
                count += self._write_chunk(reached)
                if not self._recorder.queue:
                    break
            self._note_refusals()
            if count and self._segment is not None:
                self._persist(self._segment.sync)
        except (OSError, SpoolUnusable):  # closing on a disk that refuses: reported, and not accepted
            return
        self.accepted += count
        if self._segment is not None and self._segment.size > self._settings.segment_bytes:
            # Forgotten before it is closed: a fork in between must not close the number of another file.
            segment, self._segment = self._segment, None
            self._other_bytes += segment.size
            segment.close()
        for callback in reached:
            callback()
        if count:
            self._on_commit()

    def _write_chunk(self, reached: list[Callable[[], None]]) -> int:
        """Encode and append the next few records; returns how many the segment took."""
        queue = self._recorder.queue
        lines: list[bytes] = []
        items = 0
        while queue and items < CHUNK:
            item = queue.popleft()
            if callable(item):
                reached.append(item)
                continue
            encoded = self._lines(item)
            items += bool(encoded)
            lines.extend(encoded)
        chunk = b"".join(lines)
        if not chunk:
            return 0
        if not self._has_room(len(chunk)):
            self._refuse(items)
            return 0
        try:
            self._persist(lambda: self._append(chunk))
        except (OSError, SpoolUnusable):
            self.refused += items
            raise
        return items

    def _lines(self, item: Item) -> list[bytes]:
        try:
            record = self._encoder.encode(item)
        except Exception as error:  # noqa: BLE001 - one odd record must not stop the thread that writes all others
            self.refused += 1
            self.last_error = f"a record could not be encoded: {type(error).__name__}"
            _log.warning("a record could not be encoded and is not kept: %s", type(error).__name__)
            return []
        return [framed(kept.kind.value + route.value, kept.body) for route, kept in self._router.routes(item, record)]

    def _append(self, lines: bytes) -> None:
        if self._segment is None:
            self._segment = SegmentWriter(self._folder, self._sinks, fsync=self._settings.fsync)
        self._segment.append(lines)

    def _persist(self, write: Callable[[], None]) -> None:
        """Try until the disk takes it; a process that closes meanwhile gives up after the first failure."""
        attempt = 0
        while True:
            try:
                write()
            except (OSError, SpoolUnusable) as error:
                self._report(error)
                if self._closing and attempt:
                    raise
                time.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1
            else:
                self.last_error = None
                return

    def _report(self, error: Exception) -> None:
        reason = "the disk is full" if getattr(error, "errno", None) == errno.ENOSPC else str(error)
        if self.last_error is None:
            _log.warning("records wait in memory, the spool %s does not take them: %s", self._folder, reason)
        self.last_error = f"{type(error).__name__}: {reason}"

    def _refuse(self, items: int) -> None:
        self.refused += items
        if self.last_error is None:
            _log.warning("the spool %s holds its %s MB: new records are refused", self._folder, self._settings.max_mb)
        self.last_error = f"the spool holds its bound of {self._settings.max_mb} MB"

    def _has_room(self, size: int, share: float = 1.0) -> bool:
        """Whether so many bytes leave ``share`` of the reserve free."""
        own = self._segment.size if self._segment is not None else 0
        now = time.monotonic()
        if now - self._size_known_at > _SIZE_EVERY_S:
            self._size_known_at = now
            try:
                self._other_bytes = spool_bytes(self._folder) - own
            except OSError as error:  # what was known last is near enough; the write itself will tell
                self._report(error)
        bound = self._settings.max_mb * 1e6
        return self._other_bytes + own + size <= bound - share * min(_RESERVE, bound / 8)

    def _note_refusals(self, *, last: bool = False) -> None:
        """Leave the number refused in the spool, for whoever asks from another process."""
        refused = self.total_refused - self.noted_refusals
        # While the spool is full a segment for the note alone is begun only once, at the end.
        if not refused or (self._segment is None and not last):
            return
        note = framed(REFUSALS, orjson.dumps({"refused": refused}))
        # Half of the reserve stays for the last note, which says what the earlier ones could not.
        if not last and not self._has_room(len(note), 0.5):
            return
        try:
            self._append(note)
        except (OSError, SpoolUnusable):
            return  # no room for the note either: it is written with the next group
        self.noted_refusals += refused
