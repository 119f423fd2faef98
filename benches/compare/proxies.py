"""What is compared: each proxy on one thread with the same rule (three headers, one key) in front of one origin."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import time

KEY = "sk-0123456789abcdef0123456789abcdef"
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROXY_CORE, LOAD_CORE, BOTH_CORES = "0", "1", "0,1"
MANY_KEYS, MANY_ROUTES, MANY_IDLE, MANY_STREAMS = 1_000_000, 10_000, 10_000, 1000

NGINX_COMMON = """
worker_processes 1; daemon off; pid "{dir}/pid"; error_log "{dir}/error.log"; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
"""
NGINX_ORIGIN = NGINX_COMMON + """
http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 1m; client_body_buffer_size 1m;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 "ok\\n"; }} }} }}
"""
NGINX_PROXY = NGINX_COMMON + """
http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 1m; client_body_buffer_size 256k;
  map $http_authorization $a {{ default $http_authorization; "~^Bearer (?<t>.*)$" $t; }}
  map $http_x_api_key $b {{ "" $http_x_goog_api_key; default $http_x_api_key; }}
  map $a $presented {{ "" $b; default $a; }}
  map $presented $refused {{ default 1; "{key}" 0; }}
  upstream origin {{ server {origin}; keepalive 1024; keepalive_requests 1000000000; }}
  upstream events {{ server {events}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096{tls};
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_set_header Authorization ""; proxy_set_header x-api-key ""; proxy_set_header x-goog-api-key "";
    proxy_buffering off; proxy_request_buffering off;
    if ($refused) {{ return 401; }}
    location / {{ proxy_pass http://origin; }}
    location /v1/chat/completions {{ proxy_pass http://events; }} }} }}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend in
  bind 127.0.0.1:{port}
  http-request set-var(txn.k) req.hdr(authorization),regsub("^Bearer ","")
  http-request set-var(txn.k) req.hdr(x-api-key) if !{{ req.hdr(authorization) -m found }} {{ req.hdr(x-api-key) -m found }}
  http-request set-var(txn.k) req.hdr(x-goog-api-key) if !{{ req.hdr(authorization) -m found }} !{{ req.hdr(x-api-key) -m found }}
  http-request return status 401 unless {{ var(txn.k) -m str {key} }}
  http-request del-header authorization
  http-request del-header x-api-key
  http-request del-header x-goog-api-key
  use_backend events if {{ path_beg /v1/chat/completions }}
  default_backend origin
backend origin
  server o {origin}
backend events
  server e {events}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A program pinned to one core, killed at the end, with whatever it starts."""

    def __init__(self, name, command, core, directory, port):
        self.name, self.port, self.command = name, port, command
        self.tls = name.endswith(", TLS")
        self.asked_to_stop = False
        log = open(directory / "output.log", "wb")
        self.begun = time.monotonic()
        self.child = subprocess.Popen(["taskset", "-c", core, *map(str, command)], stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log, cwd=directory)
        try:
            self._wait(directory)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - self.begun

    def _wait(self, directory):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.child.poll() is not None:
                break
            with contextlib.suppress(OSError), self._connect() as probe:
                probe.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
                if probe.recv(12)[9:12] in (b"200", b"404"):
                    return
            time.sleep(0.005)
        raise SystemExit(f"{self.name} does not serve; it said:\n{(directory / 'output.log').read_text()[-2000:]}")

    def _connect(self):
        probe = socket.create_connection(("127.0.0.1", self.port), 5)
        # Whose certificate it is does not matter here.
        return ssl._create_unverified_context().wrap_socket(probe) if self.tls else probe

    def pids(self):
        """The process and its descendants."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                    parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
        mine = {self.child.pid}
        while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
            mine |= more
        return mine

    def cpu_seconds(self):
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_kb(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
        return total

    def ask_to_stop(self):
        if not self.asked_to_stop and self.child.poll() is None:
            self.asked_to_stop = True
            # Pingora's graceful stop takes five minutes.
            self.child.send_signal(signal.SIGINT if self.name == "bare pingora" else signal.SIGTERM)

    def stop(self):
        self.ask_to_stop()
        if self.child.poll() is None:
            try:
                self.child.wait(60)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Field:
    """Everything that runs in one comparison."""

    def __init__(self, directory, binaries):
        self.directory, self.binaries = pathlib.Path(directory), binaries
        self.running = {}

    def _start(self, name, core, command, port):
        directory = self.directory / name
        self.running[name] = process = Process(name, command(directory), core, directory, port)
        return process

    def start_origins(self):
        directory, port = self._room("origin")
        (directory / "nginx.conf").write_text(NGINX_ORIGIN.format(dir=directory, port=port))
        nginx = lambda at: ["nginx", "-p", at, "-c", at / "nginx.conf"]
        self.origin = f"127.0.0.1:{self._start('origin', LOAD_CORE, nginx, port).port}"
        _, port = self._room("events")
        events = lambda _: [self.binaries["keygate"], "origin", "--threads", "1", "--listen", f"127.0.0.1:{port}"]
        self.events = f"127.0.0.1:{self._start('events', LOAD_CORE, events, port).port}"

    def start(self, name):
        starters = {"nginx": self._nginx, "nginx, TLS": self._nginx_tls, "haproxy": self._haproxy, "envoy": self._envoy, "bare pingora": self._bare}
        return starters[name]() if name in starters else self._keygate(name)

    def _room(self, name):
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory, free_port()

    def _nginx(self, name="nginx", tls=""):
        directory, port = self._room(name)
        text = NGINX_PROXY.format(dir=directory, port=port, key=KEY, origin=self.origin, events=self.events, tls=tls)
        (directory / "nginx.conf").write_text(text)
        return self._start(name, PROXY_CORE, lambda at: ["nginx", "-p", at, "-c", at / "nginx.conf"], port)

    def _nginx_tls(self):
        certificate, key = self._certificate()
        return self._nginx("nginx, TLS", f" ssl; ssl_session_tickets off; ssl_certificate {certificate}; ssl_certificate_key {key}")

    def _certificate(self):
        """A chain and its key, P-256, as most servers have."""
        chain, key = self.directory / "chain.pem", self.directory / "key.pem"
        if not chain.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                            "-keyout", key, "-out", chain], check=True, stderr=subprocess.DEVNULL)
            key.chmod(0o600)
        return chain, key

    def _haproxy(self):
        directory, port = self._room("haproxy")
        text = HAPROXY.format(port=port, key=KEY, origin=self.origin, events=self.events)
        (directory / "haproxy.cfg").write_text(text)
        return self._start("haproxy", PROXY_CORE, lambda at: ["haproxy", "-db", "-f", at / "haproxy.cfg"], port)

    def _envoy(self):
        directory, port = self._room("envoy")
        (directory / "envoy.json").write_text(json.dumps(envoy_config(port, self.origin, self.events)))
        command = lambda at: [self.binaries["envoy"], "-c", at / "envoy.json", "--concurrency", "1",
                              "--disable-hot-restart", "--log-level", "error"]
        return self._start("envoy", PROXY_CORE, command, port)

    def _bare(self):
        _, port = self._room("bare pingora")
        command = lambda _: [self.binaries["bare_pingora"], f"127.0.0.1:{port}", self.origin, KEY]
        return self._start("bare pingora", PROXY_CORE, command, port)

    def _keygate(self, name):
        directory, port = self._room(name)
        threads, core = (2, BOTH_CORES) if name == "keygate, 2 threads" else (1, PROXY_CORE)
        mode = "off" if name == "keygate, auth off" else "strict"
        config = {
            "proxy": {"listen": [f"127.0.0.1:{port}"], "auth_mode": mode, "api_key": KEY, "threads": threads},
            "admin": {"enabled": True, "listen": f"127.0.0.1:{free_port()}"},
            "upstreams": {"origin": {"peers": [self.origin]}, "events": {"peers": [self.events]}},
            "routes": [{"path_prefix": "/", "upstream": "origin"},
                       {"path_prefix": "/v1/chat/completions", "upstream": "events"}],
        }
        if name == "keygate, 1,000,000 keys":
            with open(directory / "keys.jsonl", "w") as keys:
                for number in range(MANY_KEYS):
                    digest = hashlib.sha256(b"sk-many-%d" % number).hexdigest()
                    keys.write(f'{{"name":"user-{number}","digest":"sha256:{digest}"}}\n')
            config["keys_file"] = "keys.jsonl"
        if name == "keygate, 10,000 routes":
            config["routes"] += [{"path_prefix": f"/r{n}/x", "upstream": "origin"} for n in range(MANY_ROUTES)]
        if name == "keygate, 10,000 idle":
            config["proxy"] |= {"keepalive_timeout": "1h", "connection_limits": {"per_client": 2 * MANY_IDLE}}
        if name == "keygate, access log":
            config["access_log"] = {"to": "access.log"}
        if name == "keygate, TLS":
            certificate, key = map(str, self._certificate())
            config["proxy"]["tls"] = {"certificates": [{"cert": certificate, "key": key}]}
        # JSON is YAML.
        (directory / "keygate.yaml").write_text(json.dumps(config, indent=1))
        (directory / "keygate.yaml").chmod(0o600)
        binary = self.binaries["keygate_pgo" if name == "keygate, PGO" else "keygate"]
        command = lambda at: [binary, "run", "-c", at / "keygate.yaml"]
        return self._start(name, core, command, port)

    def stop(self):
        for process in self.running.values():
            process.ask_to_stop()
        for process in self.running.values():
            process.stop()


def envoy_config(port, origin, events):
    def cluster(name, address):
        host, at = address.split(":")
        endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(at)}}}}
        return {"name": name, "type": "STATIC", "connect_timeout": "5s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}}

    def route(prefix, name):
        return {"match": {"prefix": prefix}, "route": {"cluster": name, "timeout": "0s"},
                "request_headers_to_remove": ["authorization", "x-api-key", "x-goog-api-key"]}

    api_key_auth = "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth"
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "generate_request_id": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            route("/v1/chat/completions", "events"), route("/", "origin")]}]},
        "http_filters": [
            {"name": "envoy.filters.http.api_key_auth", "typed_config": {
                "@type": f"type.googleapis.com/{api_key_auth}",
                "credentials": [{"key": KEY, "client": "one"}],
                "key_sources": [{"header": "Authorization"}, {"header": "x-api-key"}, {"header": "x-goog-api-key"}]}},
            {"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    }
    listener = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}
    return {"static_resources": {"listeners": [listener],
                                 "clusters": [cluster("origin", origin), cluster("events", events)]}}
