"""What a program can ask of ckpt itself. It works in a program that was started without ckpt_launch, too.

    import ckpt
    if ckpt.checkpoint() == ckpt.RESTARTED:
        print("back again, for the", ckpt.restarts(), "time")

    with ckpt.delayed():        # no checkpoint in here
        write_both_files()
"""

import collections
import contextlib
import ctypes

RESUMED = "resumed"
RESTARTED = "restarted"


class CheckpointError(RuntimeError):
    """The checkpoint was not made; the message says why."""


def _find(name, *arguments):
    try:
        function = getattr(ctypes.CDLL(None), name)
    except AttributeError:
        return None
    function.restype, function.argtypes = ctypes.c_int, arguments
    return function


_enabled = _find("ckpt_enabled")
_checkpoint = _find("ckpt_checkpoint", ctypes.c_char_p, ctypes.c_size_t)
_restarts = _find("ckpt_restarts")
_status = _find("ckpt_status", ctypes.c_void_p, ctypes.c_size_t)
_delay = _find("ckpt_delay")
_allow = _find("ckpt_allow")


def enabled():
    """Does this process run under ckpt?"""
    return bool(_enabled and _enabled())


def checkpoint():
    """Checkpoints the whole computation and waits until the images are durable: RESUMED.

    In a process that was brought back from them the same call returns RESTARTED. Raises CheckpointError.
    """
    if _checkpoint is None:
        raise CheckpointError("not started by ckpt_launch")
    reason = ctypes.create_string_buffer(256)
    how = _checkpoint(reason, len(reason))
    if how < 0:
        raise CheckpointError(reason.value.decode(errors="replace"))
    return RESTARTED if how == 2 else RESUMED


def restarts():
    """How often this process was brought back; 0 outside ckpt as well."""
    return max(_restarts(), 0) if _restarts else 0


class _Status(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint),
        ("restarts", ctypes.c_uint),
        ("generation", ctypes.c_uint),
        ("ready", ctypes.c_uint),
        ("at_us", ctypes.c_ulonglong),
        ("computation", ctypes.c_char * 40),
    ]


Status = collections.namedtuple("Status", "restarts generation at ready computation")
Status.__doc__ = """What there is to know at a moment.

generation is the newest complete checkpoint of the computation (0: none yet), at when that was complete (seconds since
1970; 0: before this restart), ready whether checkpoint() would be heard, computation its id, as in the names of images.
"""


def status():
    """A Status; None outside ckpt."""
    raw = _Status()
    if _status is None or _status(ctypes.byref(raw), ctypes.sizeof(raw)) != 0:
        return None
    return Status(raw.restarts, raw.generation, raw.at_us / 1e6, bool(raw.ready), raw.computation.decode())


@contextlib.contextmanager
def delayed():
    """Keeps checkpoints off meanwhile, as far as this thread is concerned. May be nested."""
    if _delay:
        _delay()
    try:
        yield
    finally:
        if _allow:
            _allow()
