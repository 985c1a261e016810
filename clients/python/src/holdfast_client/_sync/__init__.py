# Made from `_async` by tools/unasync.py: change that, and run it.
"""The client without asyncio."""
