"""What comes in as bytes, read without any I/O: gzip members, lines of names or points, pickles, Whisper headers.

Nothing here opens, reads or waits: the caller brings chunks of bytes and gets values back, so that one reader
serves files, pipes and sockets alike, and a test needs no file.
"""

from carbonquota.ingest.frames import LineAssembler, Refuse, without_long_lines
from carbonquota.ingest.gunzip import GZIP_MAGIC, Gunzip
from carbonquota.ingest.lines import LineReader, SourceBatch, SourceLine
from carbonquota.ingest.pickles import PickleAssembler, Pickled, read_pickle
from carbonquota.ingest.whisper import LONGEST_HEADER, count_data_points, metric_of_path

__all__ = [
    "GZIP_MAGIC",
    "LONGEST_HEADER",
    "Gunzip",
    "LineAssembler",
    "LineReader",
    "PickleAssembler",
    "Pickled",
    "Refuse",
    "SourceBatch",
    "SourceLine",
    "count_data_points",
    "metric_of_path",
    "read_pickle",
    "without_long_lines",
]
