"""The words of ``bind`` and ``server`` lines that need no code, each with its verdict. No I/O.

Those that are used have their rows in ``server_words``; ``keywords`` says what a verdict means.

Source: HAProxy 2.6 configuration manual, 5.1 and 5.2.
"""

from __future__ import annotations

from dsbalance.haproxy.keywords import words

IDLE_BIND_WORDS = words("""
    accept-netscaler-cip   1  proxy
    accept-proxy           0  proxy
    allow-0rtt             0  tls
    alpn                   1  tls
    backlog                1  none
    ca-file                1  tls
    ca-ignore-err          1  tls
    ca-sign-file           1  tls
    ca-sign-pass           1  tls
    ca-verify-file         1  tls
    ciphers                1  tls
    ciphersuites           1  tls
    crl-file               1  tls
    crt                    1  tls
    crt-ignore-err         1  tls
    crt-list               1  tls
    curves                 1  tls
    defer-accept           0  none
    ecdhe                  1  tls
    expose-fd              1  none
    force-sslv3            0  tls
    force-tlsv10           0  tls
    force-tlsv11           0  tls
    force-tlsv12           0  tls
    force-tlsv13           0  tls
    generate-certificates  0  tls
    gid                    1  none
    group                  1  none
    id                     1  none
    interface              1  lack  write the address of the interface
    level                  1  none
    maxconn                1  lack  write 'maxconn' in the section
    mode                   1  none
    mss                    1  lack
    namespace              1  lack
    nice                   1  none
    no-ca-names            0  tls
    no-sslv3               0  tls
    no-tls-tickets         0  tls
    no-tlsv10              0  tls
    no-tlsv11              0  tls
    no-tlsv12              0  tls
    no-tlsv13              0  tls
    npn                    1  tls
    prefer-client-ciphers  0  tls
    process                1  none
    proto                  1  http
    quic-cc-algo           1  http
    quic-force-retry       0  http
    severity-output        1  none
    shards                 1  none
    ssl                    0  tls
    ssl-max-ver            1  tls
    ssl-min-ver            1  tls
    strict-sni             0  tls
    tcp-ut                 1  lack  'option clitcpka' finds the dead
    tfo                    0  none
    thread                 1  none
    tls-ticket-keys        1  tls
    transparent            0  lack
    uid                    1  none
    user                   1  none
    verify                 1  tls
""")

IDLE_SERVER_WORDS = words("""
    agent-addr               1  agent
    agent-check              0  agent
    agent-inter              1  agent
    agent-port               1  agent
    agent-send               1  agent
    allow-0rtt               0  tls
    alpn                     1  tls
    ca-file                  1  tls
    check-alpn               1  tls
    check-proto              1  check
    check-send-proxy         0  proxy
    check-sni                1  tls
    check-ssl                0  tls
    check-via-socks4         0  lack
    ciphers                  1  tls
    ciphersuites             1  tls
    cookie                   1  http  clients stick by their address: 'stick on src'
    crl-file                 1  tls
    crt                      1  tls
    force-sslv3              0  tls
    force-tlsv10             0  tls
    force-tlsv11             0  tls
    force-tlsv12             0  tls
    force-tlsv13             0  tls
    interface                1  lack
    log-proto                1  none
    max-reuse                1  none
    namespace                1  lack
    no-agent-check           0  none
    no-check-send-proxy      0  none
    no-check-ssl             0  none
    no-send-proxy            0  none
    no-send-proxy-v2         0  none
    no-send-proxy-v2-ssl     0  none
    no-send-proxy-v2-ssl-cn  0  none
    no-ssl                   0  none
    no-ssl-reuse             0  none
    no-sslv3                 0  none
    no-tfo                   0  none
    no-tls-tickets           0  none
    no-tlsv10                0  none
    no-tlsv11                0  none
    no-tlsv12                0  none
    no-tlsv13                0  none
    no-verifyhost            0  none
    npn                      1  tls
    pool-low-conn            1  none
    pool-max-conn            1  none
    pool-purge-delay         1  none
    proto                    1  http
    proxy-v2-options         1  proxy
    redir                    1  http
    resolve-net              1  name
    resolve-opts             1  name
    resolve-prefer           1  name
    resolvers                1  name
    send-proxy               0  proxy
    send-proxy-v2            0  proxy
    send-proxy-v2-ssl        0  proxy
    send-proxy-v2-ssl-cn     0  proxy
    sni                      1  tls
    socks4                   1  lack
    source                   1  lack
    ssl                      0  tls
    ssl-max-ver              1  tls
    ssl-min-ver              1  tls
    ssl-reuse                0  none
    stick                    0  none
    tcp-ut                   1  lack  'option srvtcpka' finds the dead
    tfo                      0  none
    tls-tickets              0  none
    usesrc                   1  lack
    verify                   1  tls
    verifyhost               1  tls
    ws                       1  http
""")
