"""Errors that name what was wrong, with which value, and what is accepted.

Every error of the engine or of a server is a `ConcordError`. The reasons are the
names of `concord.v1.ErrorReason`; programs should tell errors apart by class and
`reason`, never by text. No error changes committed state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional


class ConcordError(Exception):
    """Base class. `reason` "" means that the error carried no detail."""

    code = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        value: str = "",
        accepted: str = "",
        metadata: Optional[Mapping[str, str]] = None,
        code: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.field = field
        self.value = value
        self.accepted = accepted
        self.metadata = dict(metadata or {})
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.message

    def __reduce__(self):
        return _rebuild, (type(self), self.message, dict(self.__dict__))


def _rebuild(cls, message, attributes):
    error = cls(message)
    error.__dict__.update(attributes)
    return error


class InvalidArgumentError(ConcordError, ValueError):
    """The request itself must change."""

    code = "INVALID_ARGUMENT"


class SessionNotFound(ConcordError, KeyError):
    """The session is gone, and its momentum with it. Final."""

    code = "NOT_FOUND"


class SessionExists(ConcordError, ValueError):
    """A session of that name has other options; `metadata["field"]` names one."""

    code = "ALREADY_EXISTS"


class FailedPreconditionError(ConcordError, RuntimeError):
    """The session is not in the state that the request assumes."""

    code = "FAILED_PRECONDITION"


class StepStale(FailedPreconditionError):
    """The session has committed later steps; see `metadata["committed_step"]`."""


class StepAhead(FailedPreconditionError):
    """The session has not committed the step before."""


class EpochChanged(FailedPreconditionError):
    """The session was restored, or replaced by another of its name."""


class ResyncWeights(FailedPreconditionError):
    """This worker has missed steps whose updates are gone: it needs the weights of a
    rank that has them, and then `Session.resync` with that rank's step."""


class StateUnclean(FailedPreconditionError):
    """The machine stopped while the session was in use; `metadata["checkpoint"]` names
    the newest checkpoint to restore, or is empty."""


class SessionInProgress(FailedPreconditionError):
    """A new worker joined a running session without saying where it resumes."""


class LayoutMismatch(FailedPreconditionError):
    """This worker's parameters differ from the session's, or their order does."""


class AbortedError(ConcordError, RuntimeError):
    """Another worker's doing: it took over this rank, or ended the round."""

    code = "ABORTED"


class Superseded(AbortedError):
    """A newer worker has taken this rank."""


class AccumulationLost(AbortedError):
    """The connection broke between a step's micro-batches: bring them again, from the
    first."""


class DeadlineExceeded(ConcordError, TimeoutError):
    """The step's time was over; `metadata` names the ranks that were missing."""

    code = "DEADLINE_EXCEEDED"


class CancelledError(ConcordError, RuntimeError):
    """The caller gave the call up."""

    code = "CANCELLED"


class ResourceExhausted(ConcordError, MemoryError):
    """A limit of the server, or of this machine's memory."""

    code = "RESOURCE_EXHAUSTED"


class UnavailableError(ConcordError, ConnectionError):
    """The server, or a device, cannot be reached."""

    code = "UNAVAILABLE"


class UnauthenticatedError(ConcordError, PermissionError):
    """The server wants a token, or does not know the one it got."""

    code = "UNAUTHENTICATED"


class PermissionDenied(ConcordError, PermissionError):
    """The token, or the certificate, does not allow it; `metadata` says who needs what."""

    code = "PERMISSION_DENIED"


class NotServedError(ConcordError, NotImplementedError):
    """A documented method or option that this release does not have."""

    code = "UNIMPLEMENTED"


class CheckpointNotFound(ConcordError, LookupError):
    """There is no such checkpoint."""

    code = "NOT_FOUND"


class DataLossError(ConcordError, RuntimeError):
    """What came, or what is stored, is not what was sent or written."""

    code = "DATA_LOSS"


class InternalError(ConcordError, RuntimeError):
    """The device or the program failed."""

    code = "INTERNAL"


_BY_CODE: dict[str, type[ConcordError]] = {
    cls.code: cls
    for cls in (
        InvalidArgumentError,
        SessionNotFound,
        SessionExists,
        FailedPreconditionError,
        AbortedError,
        DeadlineExceeded,
        CancelledError,
        ResourceExhausted,
        UnavailableError,
        UnauthenticatedError,
        PermissionDenied,
        NotServedError,
        DataLossError,
        InternalError,
    )
}
_BY_CODE["OUT_OF_RANGE"] = InvalidArgumentError
_BY_REASON: dict[str, type[ConcordError]] = {
    "SESSION_NOT_FOUND": SessionNotFound,
    "CHECKPOINT_NOT_FOUND": CheckpointNotFound,
    "STEP_STALE": StepStale,
    "STEP_AHEAD": StepAhead,
    "EPOCH_CHANGED": EpochChanged,
    "SESSION_REPLACED": EpochChanged,
    "SESSION_IN_PROGRESS": SessionInProgress,
    "RESYNC_WEIGHTS": ResyncWeights,
    "UNCLEAN": StateUnclean,
    "ACCUMULATION_LOST": AccumulationLost,
    "LAYOUT_MISMATCH": LayoutMismatch,
    "SUPERSEDED": Superseded,
}


def from_status(
    code: str,
    message: str,
    reason: str = "",
    field: str = "",
    value: str = "",
    accepted: str = "",
    metadata: Optional[Mapping[str, str]] = None,
) -> ConcordError:
    """The exception for a status; called by the native module."""
    cls = _BY_REASON.get(reason, _BY_CODE.get(code, ConcordError))
    return cls(
        message,
        reason=reason,
        field=field,
        value=value,
        accepted=accepted,
        metadata=metadata,
        code=code,
    )


def invalid(reason: str, field: str, value: object, accepted: str) -> InvalidArgumentError:
    """The error for an input refused in Python, in the form of the engine's own."""
    text = str(value)
    return InvalidArgumentError(
        f"{reason}: {field} = {text}; accepted: {accepted}",
        reason=reason,
        field=field,
        value=text,
        accepted=accepted,
    )
