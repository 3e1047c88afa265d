# Runs ministack on a free port of 127.0.0.1, which is told on stdout. It can be asked for a host and a port, but not which
# port it got, so it is handed a socket that listens already. It ends with whoever holds its stdin, however that one ends.
import asyncio
import os
import socket
import sys
import threading

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
# Read while it is imported. Nothing else of it shall listen, and nothing outlive it.
os.environ.update(GATEWAY_PORT=str(port), IOT_MTLS_ENABLED="0", SFTP_ENABLED="0", PERSIST_STATE="0")

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app
from ministack.services import kinesis

# It pads sequence numbers with zeros and compares them as texts. Kinesis has none that begin with a zero (the pattern of
# `StartingSequenceNumber`), and the host keeps them as numbers: with another first digit, both are right.
padded = kinesis._next_sequence_number
kinesis._next_sequence_number = lambda: "4" + padded()[1:]


def end_with_owner():
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


threading.Thread(target=end_with_owner, daemon=True).start()
print(f"listening {port}", flush=True)
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
asyncio.run(serve(app, config))
