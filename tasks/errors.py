"""How the storage under a grid can fail; imports nothing, so that the command line may know it early."""


class Unavailable(OSError):
    """The storage did not do what was asked of it for as long as one waits; what it holds is whole."""
