"""What comes in as bytes, read without any I/O: gzip members, lines of names or points, Whisper headers.

Nothing here opens, reads or waits: the caller brings chunks of bytes and gets values back, so that one reader
serves files, pipes and sockets alike, and a test needs no file.
"""

from carbonquota.ingest.gunzip import GZIP_MAGIC, Gunzip
from carbonquota.ingest.lines import Batch, Line, LineReader
from carbonquota.ingest.whisper import LONGEST_HEADER, count_data_points, metric_of_path

__all__ = [
    "GZIP_MAGIC",
    "LONGEST_HEADER",
    "Batch",
    "Gunzip",
    "Line",
    "LineReader",
    "count_data_points",
    "metric_of_path",
]
