"""gRPC through the gateway, with a server of its own behind it.

Each line on standard input is a command; its outcome is one line on standard output.
"""
import json
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc

METHODS = "/keygate.test.Echo/"
LIMIT = 60  # seconds, for each call

seen = []
given_up = threading.Event()


def trailers(context, request):
    context.set_trailing_metadata((("x-length", str(len(request))), ("x-bytes-bin", request[:8])))


def unary(request, context):
    trailers(context, request)
    return request[::-1]


def stream(requests, context):
    last = b""
    for last in requests:
        yield last.upper()
    trailers(context, last)


def fail(request, context):
    trailers(context, request)
    context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.decode()}")


def wait(request, context):
    context.add_callback(given_up.set)
    yield request
    given_up.wait(LIMIT)


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        seen.append(dict(call.invocation_metadata))
        return {
            METHODS + "Unary": grpc.unary_unary_rpc_method_handler(unary),
            METHODS + "Stream": grpc.stream_stream_rpc_method_handler(stream),
            METHODS + "Fail": grpc.unary_unary_rpc_method_handler(fail),
            METHODS + "Wait": grpc.unary_stream_rpc_method_handler(wait),
        }.get(call.method)


def listen(cert, key):
    global server
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Echo()])
    if cert:
        pair = (Path(key).read_bytes(), Path(cert).read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return port


def connect(address, ca, name):
    options = [("grpc.enable_http_proxy", 0)]
    if not ca:
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
    return grpc.secure_channel(address, credentials, [*options, ("grpc.ssl_target_name_override", name)])


def told(call):
    """What came behind the last message."""
    metadata = dict(call.trailing_metadata())
    return [call.code().name, metadata.get("x-length"), metadata.get("x-bytes-bin", b"").decode()]


def answer(command):
    global channel
    match command:
        case ["listen", cert, key]:
            return listen(cert, key)
        case ["connect", address, ca, name]:
            channel = connect(address, ca, name)
            return "connected"
        case ["unary", key, text]:
            method = channel.unary_unary(METHODS + "Unary")
            response, call = method.with_call(text.encode(), metadata=[("x-api-key", key)], timeout=LIMIT)
            return [response.decode(), *told(call)]
        case ["large", key, size]:
            message = bytes(range(256)) * (size // 256)
            method = channel.unary_unary(METHODS + "Unary")
            return method(message, metadata=[("x-api-key", key)], timeout=LIMIT) == message[::-1]
        case ["stream", key, texts]:
            # Each message is sent once the answer to the one before is there.
            answered = threading.Semaphore(1)

            def messages():
                for text in texts:
                    answered.acquire(timeout=LIMIT)
                    yield text.encode()

            method = channel.stream_stream(METHODS + "Stream")
            call = method(messages(), metadata=[("x-api-key", key)], timeout=LIMIT)
            responses = []
            for response in call:
                responses.append(response.decode())
                answered.release()
            return [responses, *told(call)]
        case ["fail", key, text]:
            try:
                channel.unary_unary(METHODS + "Fail")(text.encode(), metadata=[("x-api-key", key)], timeout=LIMIT)
            except grpc.RpcError as error:
                return [error.details(), *told(error)]
        case ["refused", key]:
            try:
                channel.unary_unary(METHODS + "Unary")(b"", metadata=[("x-api-key", key)], timeout=LIMIT)
            except grpc.RpcError as error:
                return error.code().name
        case ["give up", key]:
            given_up.clear()
            call = channel.unary_stream(METHODS + "Wait")(b"here", metadata=[("x-api-key", key)], timeout=LIMIT)
            first = next(call).decode()
            call.cancel()
            return [first, given_up.wait(LIMIT)]
        case ["seen"]:
            return [len(seen), sorted(seen[-1])]


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
