"""What is told about each request once it is over: one log line, its metrics, its trace, whatever happened.

`record` notes what is known on the way; `telling` tells of it at the end, of many
requests together; `lines` is what the log says. Nothing of a body, a prompt or a secret
is ever noted.
"""

from __future__ import annotations

from api.services.recording.record import ANSWERED as ANSWERED
from api.services.recording.record import CLIENT_CLOSED_REQUEST as CLIENT_CLOSED_REQUEST
from api.services.recording.record import Attempt as Attempt
from api.services.recording.record import Record as Record
from api.services.recording.telling import note_refusal as note_refusal
from api.services.recording.telling import telling as telling
from api.services.recording.telling import trace_with as trace_with
