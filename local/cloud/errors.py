"""The errors that the cloud's own endpoints answer as the caller's fault."""


class Refused(Exception):
    """The request cannot be carried out; the text says what is wrong with it. Answered with status 400."""
