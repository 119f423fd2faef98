"""A WebSocket through the gateway, with an echo behind it.

Each line on standard input is a command; its outcome is one line on standard output.
"""
import json
import sys
import threading

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

last_protocols = []


def echo(connection):
    for message in connection:
        if isinstance(message, str) and message.startswith("close "):
            connection.close(int(message.split()[1]), "as asked")
        else:
            connection.send(message)


def record(connection, request):
    last_protocols.append(request.headers.get_all("Sec-WebSocket-Protocol"))


def choose(connection, offered):
    return next((protocol for protocol in offered if protocol == "realtime"), None)


def answer(command):
    global connection
    match command:
        case ["listen"]:
            server = serve(echo, "127.0.0.1", 0, process_request=record, select_subprotocol=choose)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return server.socket.getsockname()[1]
        case ["connect", url, headers, protocols]:
            try:
                connection = connect(
                    url, additional_headers=headers, subprotocols=protocols or None, proxy=None, open_timeout=60
                )
            except InvalidStatus as refused:
                return [refused.response.status_code, refused.response.headers.get("x-keygate-error")]
            return [101, connection.subprotocol, last_protocols[-1]]
        case ["echo", text]:
            connection.send(text)
            connection.send(text.encode())
            return [connection.recv(), connection.recv().decode()]
        case ["large", size]:
            message = bytes(range(256)) * (size // 256)
            connection.send(message)
            return connection.recv() == message
        case ["close", code]:
            connection.close(code)
            return connection.close_code
        case ["be closed", code]:
            connection.send(f"close {code}")
            try:
                return connection.recv()
            except ConnectionClosed as closed:
                return [closed.rcvd.code, closed.rcvd.reason]


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
