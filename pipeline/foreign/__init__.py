"""Replies that someone else wrote, in files of any size: read, judged by many workers, written back in order."""
