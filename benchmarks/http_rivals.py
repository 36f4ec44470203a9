"""The rivals in HTTP mode: heads are read, X-Forwarded-For is added, connections are kept.

name            what it is
dsbalance       this project in ``mode http``, all features on
haproxy         HAProxy as it comes, one thread
haproxy-tuned   the one that is best at streams
nginx           nginx as a proxy, one worker, that buffers no bodies
dsbalance-tcp   this project in ``mode tcp``: what it costs not to look at what goes through
"""

from __future__ import annotations

import functools
from dataclasses import replace

from rivals import RIVALS, Rival, Site, nginx

HTTP = ("mode http", "option forwardfor", "timeout http-request 10s")
CLOSING = "option http-server-close"

_NGINX_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream servers {{
        hash $remote_addr consistent;
{servers}
        {keepalive}
    }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 100000000;
        client_max_body_size 0;
        location / {{
            proxy_pass http://servers;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection {connection};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""
_KEPT = "keepalive 100; keepalive_requests 100000000;"


def http_rivals(*options: str) -> tuple[Rival, ...]:
    """Return those that speak HTTP, with these further lines of HAProxy's language."""
    by_name = {rival.name: rival for rival in RIVALS}
    mode = (*HTTP, *options)
    programs = [by_name[name] for name in ("dsbalance", "haproxy", "haproxy-tuned")]
    return (
        *(replace(rival, command=functools.partial(_start, rival, mode)) for rival in programs),
        Rival(
            name="nginx",
            command=functools.partial(_start_nginx, is_closing=CLOSING in options),
            missing=lambda: "" if nginx() else "nginx is not installed",
        ),
    )


def unread() -> Rival:
    """Return ourselves without HTTP."""
    return replace(RIVALS[0], name="dsbalance-tcp")


def _start(rival: Rival, mode: tuple[str, ...], site: Site) -> list[str]:
    return rival.command(replace(site, mode=mode))


def _start_nginx(site: Site, *, is_closing: bool) -> list[str]:
    path = site.folder / "nginx.conf"
    path.write_text(
        _NGINX_CONFIG.format(
            folder=site.folder,
            connections=2 * (site.maxconn or 5000) + 100,
            servers="\n".join(f"        server 127.0.0.1:{port};" for port in site.servers),
            keepalive="" if is_closing else _KEPT,
            connection="close" if is_closing else '""',
            port=site.port,
        ),
        encoding="ascii",
    )
    return [nginx() or "nginx", "-e", "stderr", "-c", str(path)]
