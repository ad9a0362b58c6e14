"""The store's schema, one revision a file, packaged with the code.

`REVISIONS` repeats the file names in order, so that opening a store needs neither alembic nor the disk;
a test holds the two together. There is no way back down: evidence would be lost, a backup is not.
"""

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
HEAD = REVISIONS[-1]
