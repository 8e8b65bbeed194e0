"""The test kit: a scripted upstream on a real socket, and Chorus as a process.

    script       what an upstream can do: Say, Status, Hang, Cut, ErrorInStream, Raw, Empty
    upstream     ScriptedUpstream, which does it and remembers what it was asked
    server       ServerProcess, Chorus as its users run it
    gate, ports  a gate that a test opens; addresses that refuse or never accept
    fixtures     what several folders have: the upstream, the server, a client of it
    leaks        what a server in this process must not leave behind

Below these: `record` (one request), `render` (dialects as bytes), `connection` (HTTP/1.1),
`perform` (pacing and breakage), `conventions` (behaviour by model name), `changes` (waiting).
"""

from .gate import Gate
from .ports import free_port, unaccepting
from .record import Recorded
from .script import Behaviour, Cut, Empty, ErrorInStream, Hang, Raw, Say, Status
from .server import ServerProcess
from .upstream import ScriptedUpstream

__all__ = [
    "Behaviour",
    "Cut",
    "Empty",
    "ErrorInStream",
    "Gate",
    "Hang",
    "Raw",
    "Recorded",
    "Say",
    "ScriptedUpstream",
    "ServerProcess",
    "Status",
    "free_port",
    "unaccepting",
]
